"""Truncated SVD: dense and block decomposition find the same axes where a gap follows them, and the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tidemill.models.learners import truncated_svd as module
from tidemill.models.learners.truncated_svd import truncated_svd


def with_a_gap(rows: int, columns: int, k: int) -> sp.csr_matrix:
    """A matrix of k clear axes and noise; dense, in sparse clothes."""
    rng = np.random.default_rng(1)
    left = np.linalg.qr(rng.standard_normal((rows, k)))[0]
    right = np.linalg.qr(rng.standard_normal((columns, k)))[0]
    noise = rng.standard_normal((rows, columns)) * 1e-3
    return sp.csr_matrix(left * np.linspace(2.0, 1.0, k) @ right.T + noise)


@pytest.mark.parametrize(("rows", "columns"), [(300, 200), (200, 300)])
def test_blocks_find_the_axes_of_the_dense_decomposition(
    monkeypatch: pytest.MonkeyPatch, rows: int, columns: int
) -> None:
    monkeypatch.setattr(module, "EXACT", 0)
    matrix = with_a_gap(rows, columns, 8)
    axes, strength = truncated_svd(matrix, 8)
    _, exact, right = np.linalg.svd(matrix.toarray(), full_matrices=False)
    assert np.allclose(strength, exact[:8], rtol=1e-4)
    assert np.allclose(np.abs(np.sum(axes * right[:8].T, axis=0)), 1.0, atol=1e-3)
    assert np.allclose(axes.T @ axes, np.eye(8), atol=1e-4)


def test_blocks_and_the_dense_decomposition_agree_to_the_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = with_a_gap(300, 200, 8)
    exact, strength = truncated_svd(matrix, 8)
    monkeypatch.setattr(module, "EXACT", 0)
    rough, roughly = truncated_svd(matrix, 8)
    assert np.allclose(strength, roughly, rtol=1e-4)
    assert np.allclose(exact, rough, atol=1e-3)
    assert (exact[np.abs(exact).argmax(axis=0), np.arange(8)] > 0).all()


def test_a_block_wider_than_the_rank_gives_no_more_axes_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXACT", 0)
    rng = np.random.default_rng(0)
    matrix = sp.csr_matrix(rng.standard_normal((300, 5)) @ rng.standard_normal((5, 200)))
    axes, strength = truncated_svd(matrix, 20)
    assert axes.shape == (200, 5)
    assert np.allclose(strength, np.linalg.svd(matrix.toarray(), compute_uv=False)[:5], rtol=1e-4)


@pytest.mark.parametrize("exact", [0, 256])
def test_finding_them_twice_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch, exact: int) -> None:
    monkeypatch.setattr(module, "EXACT", exact)
    one, other = (truncated_svd(with_a_gap(300, 200, 8), 12)[0] for _ in range(2))
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("exact", [0, 256])
def test_an_empty_matrix_has_no_axis_that_counts(monkeypatch: pytest.MonkeyPatch, exact: int) -> None:
    monkeypatch.setattr(module, "EXACT", exact)
    axes, _ = truncated_svd(sp.csr_matrix((300, 200)), 4)
    assert axes.shape[0] == 200
    assert not axes.any()


def test_all_axes_of_a_small_matrix_are_found() -> None:
    matrix = with_a_gap(300, 200, 8)
    axes, strength = truncated_svd(matrix, 1000)
    assert axes.shape == (200, 200)
    assert np.allclose(strength, np.linalg.svd(matrix.toarray(), compute_uv=False), rtol=1e-6)


def test_a_matrix_above_the_limit_is_decomposed_by_blocks_for_any_number_of_axes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two methods with different costs, switched by the number of axes, would make fewer axes cost more."""
    monkeypatch.setattr(module, "EXACT", 100)
    monkeypatch.setattr(module, "_densely", None)
    matrix = sp.csr_matrix(np.random.default_rng(0).standard_normal((300, 200)))
    for k in (1, 8, 64):  # with 96 columns more, the block is narrower than the matrix
        assert truncated_svd(matrix, k)[0].shape == (200, k)
