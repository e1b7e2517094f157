"""What C files are made of, read without compiling them: whether they could do more than compute.

A C file is code. Of one from elsewhere it is seen first that it calls nothing but its own functions
and those of `math.h`, so that it can neither open a file nor start a program; that it stays within
its arrays cannot be seen, so that it runs in a process of its own.
"""

import pathlib
import re

# Of `math.h`, those that our files use now or did.
LIBM = frozenset(
    [
        *["erff", "expf", "expm1f", "fabsf", "floorf", "fmaxf", "fminf", "isfinite", "log1pf"],
        *["logf", "rintf", "tanhf"],
    ]
)
_STATEMENTS = frozenset(["for", "if", "return", "sizeof", "while"])
_DIRECTIVES = {
    "c": r'#include "{header}"|#include <math\.h>',
    "h": r"#(ifndef|define) [A-Z]\w*|#define [A-Z]\w* -?\d+|#include <stdint\.h>"
    r"|#ifdef __cplusplus|#endif",
}
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_ARRAY = re.compile(r"= \{[-+\d.,\sef]*\};")
_DEFINITION = re.compile(r"^(static )?[a-z][\w ]*[ *](\w+)\([^;{}()]*\)\n\{", re.MULTILINE)
_CALL = re.compile(r"\b([A-Za-z]\w*)\s*\(")
# Of pointers to functions, and of functions that are declared in another way than ours.
_DECLARATOR = re.compile(r"\b(?:char|double|float|int|int8_t|int32_t|int64_t|long|void)\s*\**\s*\(")
_WORDS = frozenset(["asm", "extern", "goto", "register", "struct", "typedef", "union"])


def foreign(path, header, function):
    """What a C file or its header holds that no file of ours does.

    Args:
        path, header: Paths.
        function: Str, the name of the one function that others may call.

    Returns:
        Sorted list of str, words about each thing; empty for a file of ours.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    found = set()
    for file, kind in ((path, "c"), (header, "h")):
        text = pathlib.Path(file).read_bytes().decode("latin-1").replace("\r\n", "\n")
        # With neither of them a comment ends where it seems to.
        joined = [word for word in ("\\\n", "??") if word in text]
        found |= {f"the mark {word!r}" for word in joined}
        text = _COMMENT.sub(" ", text)
        name = re.escape(pathlib.Path(header).name.removesuffix(".keras_vae_part"))
        allowed = re.compile(_DIRECTIVES[kind].format(header=name))
        lines = text.split("\n")
        directives = [line.strip() for line in lines if "#" in line]
        found |= {f"the line {d[:60]!r}" for d in directives if not allowed.fullmatch(d)}
        code = "\n".join(line for line in lines if "#" not in line)
        code = _ARRAY.sub(";", code.replace('extern "C" {', "") if kind == "h" else code)
        found |= _foreign_in(code, function)
    return sorted(found)


def _foreign_in(code, function):
    found = {f"the character {c!r}" for c in code if not (" " <= c <= "~" or c in "\t\n")}
    found |= {f"the character {c!r}" for c in set("\\\"'`@$") & set(code)}
    found |= {f"the mark {mark!r}" for mark in ("%:", "<:", "//", "/*") if mark in code}
    names = set(re.findall(r"\b[A-Za-z_]\w*", code))
    found |= {f"the name {n}" for n in names if n.startswith("_") or "__" in n or n in _WORDS}
    definitions = _DEFINITION.findall(code)
    defined = {name for is_static, name in definitions if is_static}
    found |= {f"the function {name}" for is_static, name in definitions if not is_static}
    known = _STATEMENTS | LIBM | defined | {function}
    found |= {f"a call of {name}" for name in set(_CALL.findall(code)) - known}
    if _DECLARATOR.search(code):
        found.add("a declaration of a function or of a pointer to one")
    return found - {f"the function {function}"}
