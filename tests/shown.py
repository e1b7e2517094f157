"""What README, docs and notebooks show: their commands and code, as a reader copies them."""

import dataclasses
import json
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Shown:
    """A piece of a document.

    Attributes:
        place: Str, the document's path from the root.
        language: `"sh"` for one command, else the language of the block.
        text: Str. A command is one line, without its comment.
    """

    place: str
    language: str
    text: str

    @property
    def name(self):
        first = next(line for line in self.text.splitlines() if line.strip())
        return f"{self.place}: {first[:70]}"


def documents():
    """Every page that a reader follows, as a tuple of its path and its text in Markdown."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
    pages += sorted(ROOT.glob("docs/how_to/*.md"))
    pages += sorted(ROOT.glob("mobile_demo/*/README.md"))
    for path in pages:
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for path in sorted(ROOT.glob("examples/notebooks/*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        yield str(path.relative_to(ROOT)), text


def shown():
    """Every command and code block of the documents; code of notebooks has a test of its own."""
    found = []
    for place, text in documents():
        text = re.sub(r"^```\{.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)  # a directive
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            if language in ("", "sh", "bash", "shell", "console"):
                found += [Shown(place, "sh", command) for command in commands(block)]
            elif language != "text":  # as a drawing is
                found.append(Shown(place, language, block))
        text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        indented = re.findall(r"(?:^(?: {4}|\t).*\n)+", text, re.MULTILINE)
        found += [Shown(place, "sh", command) for block in indented for command in commands(block)]
    return list(dict.fromkeys(found))


def commands(block):
    """The commands of a block of lines: without comments, each on one line."""
    joined = re.sub(r"\\\n\s*", "", "\n".join(line.strip() for line in block.splitlines()))
    quoted = re.sub(r"'[^']*'", lambda match: match[0].replace("\n", " "), joined)
    lines = (re.sub(r"\s+#.*$", "", line).strip() for line in quoted.splitlines())
    return [line for line in lines if line]


def installs():
    """Every `pip install` that a document shows, in a block or in a sentence."""
    found = {match for _, text in documents() for match in re.findall("pip install[^`#\n]*", text)}
    return sorted(match.strip() for match in found)
