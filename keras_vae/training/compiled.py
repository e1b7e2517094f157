"""Functions of a model, compiled once each."""


class CompiledFunctions:
    """What was compiled, by the code of a function and the objects that it refers to.

    Two functions of one code that close over different objects compute different things, so each is
    compiled: what changes from call to call belongs into the arguments. It is no dict, in which
    Keras would track the model as a layer of itself.
    """

    def __init__(self):
        self.functions = {}

    def __len__(self):
        return len(self.functions)

    def of(self, function, compile_function):
        """The compiled function, from before if there is one.

        Args:
            function: Python function, or a method.
            compile_function: Function that compiles it.
        """
        references = _references(function)
        key = (getattr(function, "__func__", function).__code__, *map(id, references))
        if key not in self.functions:
            # Kept with its references, so that no other object takes over the identity of one.
            self.functions[key] = compile_function(function), references
        return self.functions[key][0]

    def clear(self):
        self.functions.clear()


def _references(function):
    """The objects that a function refers to beyond its arguments."""
    owner = getattr(function, "__self__", None)
    function = getattr(function, "__func__", function)
    closure = [cell.cell_contents for cell in function.__closure__ or ()]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [owner, *closure, *defaults]
