"""Reads survivors.txt: the mutants that nothing catches, and why each is none to worry about."""


class Malformed(Exception):
    pass


def read(path):
    """key of a mutant: the reason"""
    table, key = {}, None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if not line[0].isspace():
            if key is not None and not table[key]:
                raise Malformed(f"{path}:{number}: the mutant before has no reason")
            key = line.strip()
            if key in table:
                raise Malformed(f"{path}:{number}: this mutant is there already")
            table[key] = ""
        elif key is None:
            raise Malformed(f"{path}:{number}: a reason without a mutant")
        else:
            table[key] = f"{table[key]} {line.strip()}".strip()
    if key is not None and not table[key]:
        raise Malformed(f"{path}: the last mutant has no reason")
    return table
