"""Pictures and sound -> snippets, the instances that the model sees."""

from avdetect.snippets.assembler import SnippetAssembler
from avdetect.snippets.grid import stream_plan
from avdetect.snippets.snippet import Snippet

__all__ = ["Snippet", "SnippetAssembler", "stream_plan"]
