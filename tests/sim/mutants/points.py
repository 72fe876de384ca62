"""Where a C file can be mutated. clang parses it (-ast-dump=json): nothing here guesses at the grammar."""

import json
import re
import subprocess
from dataclasses import dataclass

OPERATORS = {
    "comparison": "< to <=, <= to <, > to >=, >= to >, == to !=, != to ==",
    "logic": "&& to ||, || to &&",
    "negate": "the condition of if, while, do, for and ?: negated",
    "constant": "an integer n to n + 1, true to false, false to true",
    "enumerator": "a value that is assigned, passed or returned to its neighbour in the enum",
    "drop": "a call, an assignment, ++ or -- as a statement left out",
    "arithmetic": "+ to -, - to +, += to -=, -= to +=",
    "step": "++ to --, -- to ++",
}

COMPARISON = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
LOGIC = {"&&": "||", "||": "&&"}
ARITHMETIC = {"+": "-", "-": "+", "+=": "-=", "-=": "+="}
STEP = {"++": "--", "--": "++"}
TRUTH = {"true": "false", "false": "true"}

# Macros whose arguments are not mutated: a weaker assertion is nobody's behaviour.
LEFT_ALONE = {"assert", "static_assert"}
TRANSPARENT = {"ImplicitCastExpr", "ParenExpr", "ConstantExpr", "CStyleCastExpr"}
NOISE = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)


class ParseFailed(Exception):
    pass


@dataclass(frozen=True)
class Mutant:
    file: str  # below the root
    function: str  # "-": outside of all
    line: int
    column: int
    operator: str
    begin: int  # the bytes of the file that are replaced
    end: int
    new: str
    marked: str  # the line, with [-what is there-]{+what stands for it+}

    @property
    def id(self):
        return f"{self.file}:{self.line}:{self.column}:{self.operator}"

    @property
    def key(self):
        """Names it also after an edit elsewhere in the file."""
        return f"{self.file} {self.function} {self.operator}: {self.marked}"

    def apply(self, source):
        return source[: self.begin] + self.new.encode("latin-1") + source[self.end :]


def ast(path, options):
    """What clang makes of the file, each location with its file: the dump names one when it changes."""
    command = ["clang", *options, "-fsyntax-only", "-w", "-Xclang", "-ast-dump=json", str(path)]
    result = subprocess.run(command, capture_output=True, check=False)
    if result.returncode != 0:
        raise ParseFailed(f"clang cannot parse {path}:\n{result.stderr.decode()[-2000:]}")
    tree = json.loads(result.stdout)
    newest = None
    stack = [tree]
    while stack:  # in the order in which it was written
        value = stack.pop()
        if isinstance(value, dict):
            if "offset" in value:
                newest = value["file"] = value.get("file", newest)
            stack += [value[key] for key in reversed(value) if isinstance(value[key], (dict, list))]
        else:
            stack += reversed(value)
    return tree


class Finder:
    def __init__(self, path, name, options):
        self.path = str(path)
        self.name = name
        self.source = path.read_bytes()
        # Positions are bytes; without comments and literals, so that a search finds code.
        text = self.source.decode("latin-1")
        self.code = NOISE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
        self.text = text
        self.neighbours = {}  # id of an enumerator: the other one's name
        self.found = {}
        self.function = "-"
        tree = ast(path, options)
        self.collect_enums(tree)
        self.walk(tree, [])

    # --- positions ---------------------------------------------------------------------------

    def place(self, location):
        """(offset, length) of a location in this file; None: elsewhere, or in a macro's hands."""
        if "spellingLoc" in location:
            expansion, spelling = location["expansionLoc"], location["spellingLoc"]
            if expansion.get("file") == self.path and self.token(expansion) in LEFT_ALONE:
                return None
            location = spelling if spelling.get("file") == self.path else expansion
        if "offset" not in location or location["file"] != self.path:
            return None
        return location["offset"], location["tokLen"]

    def token(self, location):
        return self.text[location["offset"] : location["offset"] + location["tokLen"]]

    def begin(self, node):
        place = self.place(node.get("range", {}).get("begin", {}))
        return None if place is None else place[0]

    def end(self, node):
        place = self.place(node.get("range", {}).get("end", {}))
        return None if place is None else sum(place)

    def is_macro(self, node):
        """Whether it begins within what a macro made, and not in an argument."""
        location = node.get("range", {}).get("begin", {})
        return "spellingLoc" in location and location["spellingLoc"].get("file") != self.path

    def stop(self, begin, ends):
        """The first of these characters that is not within parentheses."""
        depth = 0
        for at in range(begin, len(self.code)):
            if depth == 0 and self.code[at] in ends:
                return at
            depth += (self.code[at] in "([{") - (self.code[at] in ")]}")
        return len(self.code)

    # --- what was found ----------------------------------------------------------------------

    def add(self, operator, begin, end, new):
        if (operator, begin) in self.found:
            return
        first = self.text.rfind("\n", 0, begin) + 1
        last = self.text.find("\n", end)
        old = self.text[begin:end]
        plus = f"{{+{new}+}}" if new else ""
        marked = f"{self.text[first:begin]}[-{old}-]{plus}{self.text[end:last]}"
        line = self.text.count("\n", 0, begin) + 1
        self.found[operator, begin] = Mutant(
            self.name,
            self.function,
            line,
            begin - first + 1,
            operator,
            begin,
            end,
            # It keeps its lines, for the sake of __LINE__ in all that follows.
            new + "\n" * (old.count("\n") - new.count("\n")),
            " ".join(marked.split()).encode("latin-1").decode(),
        )

    def collect_enums(self, tree):
        stack = [tree]
        while stack:
            node = stack.pop()
            if node.get("kind") == "EnumDecl":
                values = [one for one in node.get("inner", ()) if one["kind"] == "EnumConstantDecl"]
                for at, value in enumerate(values):
                    # The next one; before a count and at the end the one before.
                    near = values[at + 1 : at + 2] + values[at - 1 : at] if at else values[1:2]
                    near = [one for one in near if not one["name"].endswith("_COUNT")]
                    if near:
                        self.neighbours[value["id"]] = near[0]["name"]
            stack += [one for one in node.get("inner", ()) if one]

    def walk(self, node, parents):
        kind = node.get("kind")
        if kind == "StaticAssertDecl":
            return
        function = self.function
        if kind == "FunctionDecl":
            self.function = node["name"]
        look = getattr(self, f"look_{kind}", None)
        if look:
            look(node, parents)
        parents.append(node)
        for child in node.get("inner", ()):
            if child:
                self.walk(child, parents)
        parents.pop()
        self.function = function

    # --- expressions -------------------------------------------------------------------------

    def look_BinaryOperator(self, node, _parents):
        opcode = node["opcode"]
        for operator, table in (("comparison", COMPARISON), ("logic", LOGIC), ("arithmetic", ARITHMETIC)):
            if opcode not in table:
                continue
            left, right = (self.begin(one) for one in node["inner"])
            if left is None or right is None or left >= right:
                return
            # Between the two; behind what is left of the left one, when a macro made that.
            at = self.code.rfind(opcode, left, right)
            if at >= 0 and not self.code[at + len(opcode) : right].strip(" \n("):
                self.add(operator, at, at + len(opcode), table[opcode])

    look_CompoundAssignOperator = look_BinaryOperator

    def look_UnaryOperator(self, node, _parents):
        if node["opcode"] in STEP:
            place = self.end(node) - 2 if node["isPostfix"] else self.begin(node)
            if self.code[place : place + 2] == node["opcode"]:
                self.add("step", place, place + 2, STEP[node["opcode"]])

    def look_IntegerLiteral(self, node, _parents):
        place = self.place(node["range"]["begin"])
        if place is None:
            return
        text = self.text[place[0] : sum(place)]
        if text in TRUTH:
            self.add("constant", place[0], sum(place), TRUTH[text])
            return
        match = re.fullmatch(r"(0[xX][0-9a-fA-F]+|[0-9]+)([uUlL]*)", text)
        if match:
            digits = match.group(1)
            base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
            value = int(digits, base) + 1
            new = f"0x{value:x}" if base == 16 else str(value)
            self.add("constant", place[0], sum(place), new + match.group(2))

    def look_DeclRefExpr(self, node, parents):
        new = self.neighbours.get(node["referencedDecl"]["id"])
        place = self.place(node["range"]["begin"])
        if new is None or place is None or self.text[place[0] : sum(place)] != node["referencedDecl"]["name"]:
            return
        child = node
        for parent in reversed(parents):
            if parent["kind"] not in TRANSPARENT:
                break
            child = parent
        siblings = parent.get("inner", ())
        at = next(i for i, one in enumerate(siblings) if one is child)
        if (
            parent["kind"] in ("ReturnStmt", "VarDecl", "InitListExpr")
            or (parent["kind"] == "BinaryOperator" and parent["opcode"] == "=" and at == 1)
            or (parent["kind"] in ("CallExpr", "ConditionalOperator") and at > 0)
        ):
            self.add("enumerator", place[0], sum(place), new)

    # --- conditions --------------------------------------------------------------------------

    def negate(self, condition, begin, end):
        while condition["kind"] in TRANSPARENT:
            condition = condition["inner"][0]
        if condition.get("opcode") in ("==", "!="):
            return  # the comparison's mutant is the same
        old = self.text[begin:end].rstrip()
        self.add("negate", begin, begin + len(old), f"!({old})")

    def negate_in_parentheses(self, condition, begin):
        begin = self.code.index("(", begin) + 1
        self.negate(condition, begin, self.stop(begin, ")"))

    def look_IfStmt(self, node, _parents):
        if self.begin(node) is not None and not self.is_macro(node):
            self.negate_in_parentheses(node["inner"][0], self.begin(node))

    look_WhileStmt = look_IfStmt

    def look_DoStmt(self, node, _parents):
        if self.begin(node) is not None and not self.is_macro(node):
            body, condition = node["inner"]
            self.negate_in_parentheses(condition, self.code.index("while", self.end(body)))

    def look_ForStmt(self, node, _parents):
        condition = node["inner"][2]
        if condition and self.begin(node) is not None and not self.is_macro(node):
            first = self.stop(self.code.index("(", self.begin(node)) + 1, ";") + 1
            first += len(self.text[first:]) - len(self.text[first:].lstrip())
            self.negate(condition, first, self.stop(first, ";"))

    def look_ConditionalOperator(self, node, _parents):
        begin = self.begin(node)
        if begin is not None:
            end = self.stop(begin, "?")
            if end < (self.end(node) or 0):
                self.negate(node["inner"][0], begin, end)

    # --- statements --------------------------------------------------------------------------

    def drop(self, statement):
        kind, opcode = statement.get("kind"), statement.get("opcode")
        if (
            kind in ("CallExpr", "CompoundAssignOperator")
            or (kind == "BinaryOperator" and opcode == "=")
            or (kind == "UnaryOperator" and opcode in STEP)
        ):
            begin = self.begin(statement)
            if begin is not None and not self.is_macro(statement):
                self.add("drop", begin, self.stop(begin, ";"), "")

    def look_CompoundStmt(self, node, _parents):
        for statement in node.get("inner", ()):
            self.drop(statement)

    def look_CaseStmt(self, node, _parents):
        self.drop(node["inner"][-1])

    look_DefaultStmt = look_LabelStmt = look_CaseStmt


def find(path, name, options):
    """The mutants of a file in its order. @options: of the compiler."""
    found = Finder(path, name, options).found.values()
    return sorted(found, key=lambda mutant: (mutant.begin, mutant.operator))
