import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import deltas
from strategies.exceptions import CheckpointError


def delta(base: bytes, whole: bytes) -> bytes:
    out = io.BytesIO()
    deltas.write(io.BytesIO(base), io.BytesIO(whole), len(whole), out)
    return out.getvalue()


def restored(base: bytes, stored: bytes) -> bytes:
    out = io.BytesIO()
    deltas.restore(io.BytesIO(base), io.BytesIO(stored), out)
    return out.getvalue()


@given(st.binary(max_size=200), st.binary(max_size=200), st.integers(1, 50))
def test_any_file_comes_back_bit_for_bit(base, whole, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deltas, "BLOCK", block)
        assert restored(base, delta(base, whole)) == whole


def test_a_model_that_moved_a_little_takes_less_room():
    draw = np.random.default_rng(0)
    base = draw.standard_normal(50_000).astype(np.float32)
    moved = base + 1e-3 * draw.standard_normal(base.size).astype(np.float32)
    stored = delta(base.tobytes(), moved.tobytes())
    assert len(stored) < 0.7 * moved.nbytes
    assert restored(base.tobytes(), stored) == moved.tobytes()


@pytest.mark.parametrize("spoil", [lambda d: d[:-5], lambda d: d[:20], lambda d: b"", lambda d: b"x" * 60])
def test_a_damaged_delta_is_an_error_of_ours(spoil):
    with pytest.raises(CheckpointError):
        restored(b"a" * 5000, spoil(delta(b"a" * 5000, np.random.default_rng(0).bytes(5000))))
