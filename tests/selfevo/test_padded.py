from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the [train] extra")
pytest.importorskip("transformers", reason="needs the [train] extra")

from selfevo.padded import _batches, _Size


@given(
    sizes=st.lists(st.builds(_Size, st.integers(1, 60), st.integers(1, 60)), max_size=20),
    limit=st.integers(50, 400),
)
def test_batches_take_each_once_and_fit_unless_alone(sizes, limit):
    def fits(batch):
        return len(batch) * (max(s.prompt for s in batch) + max(s.new for s in batch)) <= limit

    batches = list(_batches(dict(enumerate(sizes)), fits))
    assert sorted(chain.from_iterable(batches)) == [*range(len(sizes))]
    assert all(len(batch) == 1 or fits([sizes[i] for i in batch]) for batch in batches)
