"""Whether the Hub's token may write to a repository, asked before anything is made for it."""

from __future__ import annotations

from typing import Any

from skill_factory.errors import HubError

_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def check_access(repo: str) -> None:
    """Raises `HubError` if there is no token, the Hub does not know it, it is of someone who has no
    repositories under the owner of `repo`, or there is no network.

    Where the Hub is out of order, nothing is raised: pushing tries again, and says so.
    """
    from huggingface_hub import get_token

    if get_token() is None:
        raise _refused(repo, f"no token to push with: {_LOG_IN}")
    user = _asked(repo)
    if user is None:
        return
    owner = repo.split("/")[0]
    names = [str(user.get("name")), *(str(org.get("name")) for org in user.get("orgs", []))]
    if owner.lower() not in (name.lower() for name in names):
        raise _refused(
            repo, f"the token is {names[0]}'s, who cannot write there: {', '.join(names)}"
        )


def _asked(repo: str) -> dict[str, Any] | None:
    """Who the token's user is; None: the Hub is out of order."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        user: dict[str, Any] = HfApi().whoami()
        return user
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise _refused(repo, f"the Hub does not accept the token: {_LOG_IN}") from None
        return None
    except Exception:  # of the client of the Hub's client: there was no answer
        raise _refused(repo, "no network: the Hub cannot be reached") from None


def _refused(repo: str, why: str) -> HubError:
    return HubError(f"{repo}: {why}. Nothing was made; for a folder write ./{repo}")
