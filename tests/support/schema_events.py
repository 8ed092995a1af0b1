"""Hypothesis strategies: any event that its type allows, with the values that codecs get wrong."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from schemas.records import Answer, Int32, Int64

texts = st.text(st.characters(codec="utf-8"), max_size=12)
int32s = st.integers(-(2**31), 2**31 - 1)
int64s = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False)
answers = st.one_of(texts, int64s, floats, st.booleans(), st.lists(texts, max_size=3))


def of_type(as_type: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type."""
    if as_type == Answer:
        return answers
    if as_type == Int32:
        return int32s
    if as_type == Int64:
        return int64s
    if isinstance(as_type, type) and issubclass(as_type, msgspec.Struct):
        return events(as_type)
    plain = {
        str: texts,
        float: floats,
        bool: st.booleans(),
        bytes: st.binary(max_size=20),
        type(None): st.none(),
    }
    if as_type in plain:
        return plain[as_type]
    origin, arguments = get_origin(as_type), get_args(as_type)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is list:
        return st.lists(of_type(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(of_type(arguments[0]), of_type(arguments[1]), max_size=4)
    return st.one_of([of_type(argument) for argument in arguments])


def events(event_type: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(event_type, include_extras=True)
    return st.builds(event_type, **{name: of_type(hint) for name, hint in hints.items()})
