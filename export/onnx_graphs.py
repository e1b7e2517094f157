"""An ONNX model's graph, and the graphs inside its functions and operators."""


def graphs_of(model):
    """The graph, the functions, and the graphs inside their operators."""
    return graphs_within(model.graph, *model.functions)


def graphs_within(*graphs):
    """Graphs, and those inside their operators."""
    pending = [*graphs]
    while pending:
        graph = pending.pop()
        yield graph
        for attribute in (attribute for node in graph.node for attribute in node.attribute):
            pending += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]


def readers_of(model, name):
    """How many times a value is read, by operators and as an output; also inside of loops."""
    ends = sum(value.name == name for graph in graphs_of(model) for value in graph.output)
    nodes = (node for graph in graphs_of(model) for node in graph.node)
    return ends + sum(list(node.input).count(name) for node in nodes)


def is_read(model, name):
    """Whether a value is read, by an operator or as the model's output."""
    return readers_of(model, name) > 0
