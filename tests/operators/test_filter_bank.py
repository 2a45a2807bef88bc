"""The filters of wavelets: exact reconstruction, PyWavelets' tables, and the norm of one level."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import pywt

from opalg.errors import DeviceError, UnsupportedError
from opalg.operators import Wavelet
from opalg.operators.filter_bank import filter_bank, level_norms, response

BIORTHOGONAL = [name for name in pywt.wavelist(kind="discrete") if name.startswith(("bior", "rbio"))]


@pytest.mark.parametrize("name", ["haar", "db4", "sym8", "sym20", "db38", "coif17"])
def test_filters_are_orthogonal_to_the_last_digit(name):
    bank = filter_bank(name)
    h, g = np.array(bank.low), np.array(bank.high)
    assert bank.orthogonal and bank.high == bank.dual_high
    for shift in range(0, len(h), 2):
        tail = len(h) - shift
        assert h[shift:] @ h[:tail] == pytest.approx(float(shift == 0), abs=1e-14)
        assert h[shift:] @ g[:tail] == pytest.approx(0.0, abs=1e-14)
    assert np.allclose(h, pywt.Wavelet(name).dec_lo, atol=1e-8)
    assert np.allclose(g, pywt.Wavelet(name).dec_hi, atol=1e-8)


@pytest.mark.parametrize("name", BIORTHOGONAL)
def test_dual_filters_reconstruct_to_the_last_digit(name):
    bank, table = filter_bank(name), pywt.Wavelet(name)
    h, t = np.array(bank.low), np.array(bank.dual_low)
    correlations = np.correlate(h, t, "full")[(len(h) - 1) % 2 :: 2]
    assert np.allclose(np.sort(np.abs(correlations)), [0.0] * (len(correlations) - 1) + [1.0], atol=1e-14)
    partner = filter_bank(bank.dual_name)
    assert (partner.low, partner.high) == (bank.dual_low, bank.dual_high)
    assert np.allclose(bank.high, table.dec_hi, atol=1e-11) and np.allclose(
        bank.dual_low[::-1], table.rec_lo, atol=1e-11
    )
    assert all(h == 0 for h, of in zip(bank.low, table.dec_lo, strict=True) if of == 0)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 16])
def test_response_of_filters_of_any_length(n):
    taps = filter_bank("db4").low
    wanted = [sum(h * np.exp(-2j * np.pi * j * k / n) for j, h in enumerate(taps)) for k in range(n)]
    assert np.allclose(response(taps, n), wanted)


@pytest.mark.parametrize("name", ["db3", "bior2.2", "rbio3.3"])
@pytest.mark.parametrize("n", [2, 4, 6, 20])
def test_norms_of_a_level_and_of_its_low_pass_half(name, n):
    bank = filter_bank(name)
    rows = {}
    for key, taps in (("low", bank.low), ("high", bank.high)):
        rows[key] = np.zeros((n // 2, n))
        for k in range(n // 2):
            for j, h in enumerate(taps):
                rows[key][k, (2 * k + len(taps) // 2 - j) % n] += h
    full, coarse = level_norms(bank.low, bank.high, n)
    assert full == pytest.approx(np.linalg.norm(np.vstack([rows["low"], rows["high"]]), 2) ** 2, rel=1e-12)
    assert coarse == pytest.approx(np.linalg.norm(rows["low"], 2) ** 2, rel=1e-12)


@pytest.mark.parametrize(("name", "words"), [("nonesuch", "wavelist"), ("dmey", "only roughly"), ("mexh", "wavelist")])
def test_other_wavelets_are_refused(name, words):
    with pytest.raises(UnsupportedError, match=words):
        filter_bank(name)


def test_missing_pywavelets_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pywt", None)
    filter_bank.cache_clear()
    with pytest.raises(DeviceError, match=r"opalg\[wavelets\]"):
        Wavelet((8,), "haar", 1)
