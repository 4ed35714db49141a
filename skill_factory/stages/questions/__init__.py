"""Where questions come from: made, read from a dataset, or from a source of the user's own."""

from skill_factory.stages.questions.plugin_sources import Asked as Asked
from skill_factory.stages.questions.plugin_sources import Source as Source
