"""Parts from outside the package: a task, a format, a question source or a check of a user's own.

Each kind of part has a `Door`. A part is named by a reference, `module:name` or `file.py:name`, or
by the name under which an installed package has it in the entry point group `skill_factory.tasks`,
`.formats`, `.sources` or `.checks` (https://packaging.python.org/specifications/entry-points/).

A reference is code that runs. It is loaded only where the user names it: in an option, in a config
that they name, in a call. One that stands in data is never loaded.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from skill_factory.errors import PluginError, SkillFactoryError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class _Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def about(self) -> str: ...


T = TypeVar("T", bound=_Named)
R = TypeVar("R")

_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")


class _Reference(NamedTuple):
    """`place` is a module, or a file that ends in .py."""

    place: str
    name: str

    @property
    def is_file(self) -> bool:
        return self.place.endswith(".py")

    def __str__(self) -> str:
        return f"{self.place}:{self.name}"


def is_reference(word: str) -> bool:
    """Whether a word names code, rather than something that is built in or installed.

    >>> [is_reference(word) for word in ("parity.py:task", "a.b:task", "countdown", "org/name")]
    [True, True, False, False]
    """
    place, colon, name = word.rpartition(":")
    if not colon:
        return word.endswith(".py")
    named = place.endswith(".py") or _MODULE.fullmatch(place)
    return bool(named and _IDENTIFIER.fullmatch(name))


def is_named(what: str, word: str) -> bool:
    """Whether a word names a part of this kind from outside: code, or one that is installed."""
    return (":" in word and is_reference(word)) or word in _entry_points(f"skill_factory.{what}s")


def whole(word: str, what: str, folder: Path | None, trusted: bool) -> str:
    """A reference with the whole path of its file, any other word as it is; nothing is loaded.

    Raises `PluginError` where there is no such file, or code is not `trusted`.
    """
    if ":" not in word or not is_reference(word):
        return word
    if not trusted:
        raise PluginError(_NOT_TRUSTED.format(what, word))
    reference = str(_parsed(word, folder, what))
    check_unchanged(reference, what)
    return reference


_NOT_TRUSTED = (
    "{} {}: is code, and only a run's own config.yaml names it; if it is yours, name that config "
    "with -c"
)


def file_of(word: str) -> Path | None:
    """The file that a reference names; None: it names none."""
    place, colon, _ = word.rpartition(":")
    is_file = bool(colon) and place.endswith(".py") and is_reference(word)
    return Path(place) if is_file and Path(place).is_file() else None


def digest_of(file: Path) -> str:
    """The sha256 of a file's code: of what was loaded in this process, else of what it holds."""
    return _DIGESTS.get(file) or _digest(file)


def check_unchanged(reference: str, what: str) -> None:
    """Raises `PluginError` where a reference's file is not what was loaded in this process."""
    file = file_of(reference)
    if file is not None and digest_of(file) != _digest(file):
        raise PluginError(
            f"{what} {shown(reference)}: {file} was changed after it was loaded; start Python anew "
            "(in a notebook: restart the kernel)"
        )


_DIGESTS: dict[Path, str] = {}
"""The sha256 of each file that was loaded, by its whole path."""


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def shown(word: str) -> str:
    """A reference as others may read it: of a file's path only its own name."""
    return word.replace("\\", "/").rpartition("/")[2] if is_reference(word) else word


class Door(Generic[T]):
    """Where parts of one kind come in. Each is loaded once in a process, and checked then.

    `what` is the kind's word, `kind` its class. `admit` is given what was found and where, and
    gives the part, or raises `PluginError`. `is_built_in` says whether a name is taken.
    """

    def __init__(
        self,
        what: str,
        kind: type[T],
        admit: Callable[[T, str], T],
        is_built_in: Callable[[str], bool],
    ) -> None:
        self.what = what
        self.group = f"skill_factory.{what}s"
        self.loaded: dict[str, T] = {}
        """By the part's own name."""
        self.references: dict[str, str] = {}
        """The canonical reference of what was loaded by one, by the part's own name."""
        self._kind = kind
        self._admit = admit
        self._is_built_in = is_built_in
        self._found: dict[str, T] = {}  # by name, as the module has it
        self._broken: dict[str, PluginError] = {}
        self._lock = RLock()

    def load(self, word: str, folder: Path | None = None, trusted: bool = True) -> T:
        """The part that a reference names. A relative file is looked for in the current folder,
        then in `folder`. Not `trusted`: only if it was loaded before.

        Raises `PluginError`.
        """
        reference = _parsed(word, folder, self.what)
        with self._lock:
            if (known := self.loaded_by(str(reference))) is not None:
                return known
            if not trusted:
                raise PluginError(_NOT_TRUSTED.format(self.what, word))
            where = f"{self.what} {word}"
            part = self._enter(self._attribute(reference, where), where)
            self.references[part.name] = str(reference)
            return part

    def loaded_by(self, reference: str) -> T | None:
        """What was loaded by a canonical reference; None: nothing."""
        for name, known in self.references.items():
            if known == reference:
                return self.loaded[name]
        return None

    def installed(self, name: str) -> T | None:
        """The part of an installed package that has this name; None: there is none. Raises
        `PluginError` if it cannot be loaded."""
        with self._lock:
            if name in self.loaded:
                return self.loaded[name]
            if name in self._broken:
                raise self._broken[name]
            points = _entry_points(self.group).get(name)
            if not points:
                return None
            try:
                return self._load_installed(points)
            except PluginError as error:
                self._broken[name] = error
                raise

    def everything_installed(self) -> Mapping[str, T | PluginError]:
        """All parts of installed packages by name, or why one cannot be loaded."""
        found: dict[str, T | PluginError] = {}
        for name in sorted(_entry_points(self.group)):
            if self._is_built_in(name):
                continue
            try:
                part = self.installed(name)
            except PluginError as error:
                found[name] = error
            else:
                assert part is not None
                found[name] = part
        return found

    def meanings(self) -> dict[str, str]:
        """All parts that came in from outside or could: a line of text by name."""
        installed = {
            name: part.about if not isinstance(part, PluginError) else f"cannot be used: {part}"
            for name, part in self.everything_installed().items()
        }
        return installed | {name: part.about for name, part in self.loaded.items()}

    def _load_installed(self, points: tuple[EntryPoint, ...]) -> T:
        name = points[0].name
        where = f"{self.what} {name} (installed, {points[0].value})"
        if len({point.value for point in points}) > 1:
            of = " and ".join(point.value for point in points)
            raise PluginError(f"{self.what} {name}: is installed twice, {of}; uninstall one")
        with _explained(where, "importing it"):
            found = points[0].load()
        part = self._enter(self._checked(found, where), where)
        if part.name != name:
            raise PluginError(f"{where}: calls itself {part.name!r}; both must be the same name")
        return part

    def _attribute(self, reference: _Reference, where: str) -> T:
        module = _module(reference, where)
        if not hasattr(module, reference.name):
            there = [name for name, it in vars(module).items() if isinstance(it, self._kind)]
            has = ", ".join(there) or f"no {self.what} at all"
            raise PluginError(f"{where}: has no {reference.name!r}; it has {has}")
        return self._checked(getattr(module, reference.name), where)

    def _checked(self, found: object, where: str) -> T:
        if not isinstance(found, self._kind):
            raise PluginError(
                f"{where}: expected a {self._kind.__name__} of skill_factory (docs/extending.md), "
                f"found a {type(found).__name__}"
            )
        return found

    def _enter(self, found: T, where: str) -> T:
        """Check a part and remember it; one that is there already is that one."""
        part = self._admit(found, where)
        if self._is_built_in(part.name):
            raise PluginError(f"{where}: a built-in {self.what} is called {part.name!r}; rename it")
        if self._found.setdefault(part.name, found) is not found:
            raise PluginError(f"{where}: another {self.what} is called {part.name!r}; rename one")
        return self.loaded.setdefault(part.name, part)


def _parsed(word: str, folder: Path | None, what: str) -> _Reference:
    """A reference with the whole path of its file. Raises `PluginError` where it has no name, or
    there is no such file."""
    place, colon, name = word.rpartition(":")
    if not colon or not is_reference(word):
        raise PluginError(f"{what} {word}: expected module:NAME or file.py:NAME")
    if not place.endswith(".py"):
        return _Reference(place, name)
    beside = [Path(place).expanduser(), *([folder / place] if folder else [])]
    path = next((path for path in beside if path.is_file()), None)
    if path is None:
        raise PluginError(f"{what} {word}: there is no file {place}")
    return _Reference(str(path.resolve()), name)


@lru_cache(maxsize=8)
def _entry_points(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    """The entry points of a group by name; those of one name stand together."""
    from importlib.metadata import entry_points  # not for the help of a command

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def _module(reference: _Reference, where: str) -> ModuleType:
    if reference.is_file:
        with _explained(where, "importing it"):
            return _module_of_file(Path(reference.place))
    try:
        with _explained(where, "importing it"):
            return importlib.import_module(reference.place)
    except PluginError as error:
        if isinstance(error.__cause__, ModuleNotFoundError) and (
            error.__cause__.name in (reference.place, reference.place.partition(".")[0])
        ):
            raise PluginError(
                f"{where}: there is no module {reference.place}; install it, or name its file, as "
                f"./{reference.place.replace('.', '/')}.py:{reference.name}"
            ) from None
        raise


def _module_of_file(path: Path) -> ModuleType:
    """A file's module, executed once. What lies beside it can be imported too, after all else."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()
    name = f"skill_factory_plugin_{digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path, loader=SourceFileLoader(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    _DIGESTS[path] = _digest(path)
    module = sys.modules[name] = module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name], _DIGESTS[path]
        raise
    return module


# -- what a part does -----------------------------------------------------------------------------


@contextmanager
def _explained(where: str, doing: str) -> Iterator[None]:
    try:
        yield
    except SkillFactoryError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"{where}: {doing} raised {_said(error)}") from error


def _said(error: BaseException) -> str:
    """An exception in a line: its type, its words, and where it was raised."""
    words = " ".join(str(error).split())[:300]
    said = f"{type(error).__name__}: {words}" if words else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return said
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return said
    return f"{said} ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})"


def guarded(
    function: Callable[..., R],
    where: str,
    doing: str,
    expected: Callable[[Any], str | None],
    about: str = "",
) -> Callable[..., R]:
    """A part's function that raises nothing but `PluginError`s. `expected` says what should have
    been returned; None: it was.

    In errors the arguments are shown, each cut off, or in their place what the call is `about`.
    """

    def called(given: tuple[Any, ...]) -> str:
        return f"{doing}({about or ', '.join(f'{value!r:.200}' for value in given)})"

    def call(*given: Any) -> R:
        try:
            found = function(*given)
        except SkillFactoryError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(f"{where}: {called(given)} raised {_said(error)}") from error
        if (wanted := expected(found)) is not None:
            raise PluginError(f"{where}: {called(given)} returned {found!r:.80}, expected {wanted}")
        return found

    return call


def takes(function: object, count: int) -> bool:
    """Whether something can be called with so many arguments."""
    import inspect  # takes a moment, and no built-in part needs it

    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a function in C says nothing of itself
        return True
    return True
