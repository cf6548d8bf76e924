"""Pictures and sound -> snippets, the instances that the model sees."""

from avdetect.snippets.assembler import SnippetAssembler
from avdetect.snippets.snippet import Snippet, stream_plan

__all__ = ["Snippet", "SnippetAssembler", "stream_plan"]
