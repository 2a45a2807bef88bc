"""Two-channel filter banks: the filters of a wavelet, made exact to the last digit, and the norm of one level."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from opalg.errors import DeviceError, UnsupportedError

Taps = tuple[float, ...]
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class FilterBank:
    """The filters of a wavelet, all of one even length.

    Parameters
    ----------
    low, high : tuple of float
        What the analysis convolves with.
    dual_low, dual_high : tuple of float
        The filters of the dual wavelet: the adjoint of its analysis is the inverse of this one's. Those of an
        orthogonal wavelet are its own.
    dual_name : str
        PyWavelets' name of the dual wavelet.

    Notes
    -----
    ``sum_j h_j t_(j + 2k) = [k = 0]`` for the low-pass filters ``h`` and ``t`` of the two (Cohen, Daubechies, Feauveau
    1992, Biorthogonal bases of compactly supported wavelets).
    """

    low: Taps
    high: Taps
    dual_low: Taps
    dual_high: Taps
    dual_name: str

    @property
    def orthogonal(self) -> bool:
        """Whether the wavelet is its own dual."""
        return self.low == self.dual_low


@lru_cache(maxsize=64)
def filter_bank(name: str) -> FilterBank:
    """The filters of a wavelet of PyWavelets, moved to the nearest ones that reconstruct exactly.

    Parameters
    ----------
    name : str
        A discrete wavelet, such as ``"db4"`` or ``"bior4.4"``.

    Raises
    ------
    DeviceError
        Where PyWavelets is not installed.
    UnsupportedError
        Where there is no such wavelet, or its filters reconstruct only roughly, as those of ``"dmey"``.

    Examples
    --------
    >>> from opalg.operators.filter_bank import filter_bank
    >>> filter_bank("haar").orthogonal, filter_bank("bior2.2").dual_name
    (True, 'rbio2.2')
    """
    try:
        import pywt
    except ModuleNotFoundError:
        raise DeviceError("wavelets need PyWavelets: pip install 'opalg[wavelets]'") from None
    try:
        wavelet = pywt.Wavelet(name)
    except (ValueError, TypeError, AttributeError) as err:
        known = "pywt.wavelist(kind='discrete')"
        raise UnsupportedError(f"PyWavelets has no discrete wavelet {name!r}; see {known}") from err
    plain = wavelet.name
    if plain.startswith("rbio"):  # from its dual, so that the two stay exact partners
        dual = filter_bank(plain.replace("rbio", "bior"))
        return FilterBank(dual.dual_low, dual.dual_high, dual.low, dual.high, plain.replace("rbio", "bior"))
    low, partner = np.array(wavelet.dec_lo), np.array(wavelet.rec_lo[::-1])
    if wavelet.orthogonal:
        low = partner = _corrected(low, None, name)
    else:
        low, partner = np.split(_corrected(low, partner, name), 2)
    h, t = (tuple(float(tap) for tap in f) for f in (low, partner))
    return FilterBank(h, high_pass(t), t, high_pass(h), plain.replace("bior", "rbio"))


def high_pass(low: Taps) -> Taps:
    """The conjugate mirror filter of a (dual) low-pass filter, ``g_j = (-1)^(j + 1) h_(L - 1 - j)``."""
    return tuple(h if j % 2 else -h for j, h in enumerate(reversed(low)))


def _corrected(low: np.ndarray, dual: np.ndarray | None, name: str) -> np.ndarray:
    """The filter, or a filter and its dual end to end, after two Newton steps onto exact reconstruction."""
    own = dual is None
    taps = low if dual is None else np.concatenate([low, dual])
    free = taps != 0
    if np.max(np.abs(_defect(taps, own))) > _TOLERANCE:
        raise UnsupportedError(
            f'a wavelet operator takes wavelets that reconstruct exactly, orthogonal ones such as "db4" or '
            f'biorthogonal ones such as "bior4.4"; the tabulated filters of {name!r} do so only roughly'
        )
    for _ in range(2):
        step = np.linalg.lstsq(_defect_jacobian(taps, own)[:, free], _defect(taps, own), rcond=None)[0]
        taps = taps.copy()
        taps[free] -= step
    return taps


def _shifted(taps: np.ndarray, shift: int) -> np.ndarray:
    out = np.zeros_like(taps)
    out[max(0, shift) : len(taps) + min(0, shift)] = taps[max(0, -shift) : len(taps) - max(0, shift)]
    return out


def _lags(length: int, own: bool) -> range:
    return range(0 if own else 2 - length, length, 2)


def _halves(taps: np.ndarray, own: bool) -> tuple[np.ndarray, np.ndarray]:
    return (taps, taps) if own else (taps[: len(taps) // 2], taps[len(taps) // 2 :])


def _defect(taps: np.ndarray, own: bool) -> np.ndarray:
    """``sum_j h_j t_(j + 2k) - [k = 0]`` for each k: zero for exact reconstruction."""
    low, dual = _halves(taps, own)
    return np.array([low @ _shifted(dual, -k) - (k == 0) for k in _lags(len(low), own)])


def _defect_jacobian(taps: np.ndarray, own: bool) -> np.ndarray:
    low, dual = _halves(taps, own)
    pairs = [(_shifted(dual, -k), _shifted(low, k)) for k in _lags(len(low), own)]
    return np.array([a + b if own else np.concatenate([a, b]) for a, b in pairs])


def response(taps: Taps, n: int) -> np.ndarray:
    """``sum_j h_j exp(-2 pi i j k / n)`` for ``k = 0 .. n - 1``, for any number of taps."""
    folded = np.zeros(-(-len(taps) // n) * n)
    folded[: len(taps)] = taps
    return np.fft.fft(folded.reshape(-1, n).sum(axis=0))


@lru_cache(maxsize=256)
def level_norms(low: Taps, high: Taps, n: int) -> tuple[float, float]:
    """The squared norms of one level on a periodic line of even length, and of its low-pass half alone (both exact).

    On each pair of frequencies ``k``, ``k + n/2``, which decimation mixes, a level is a matrix of two by two: the
    alias-component matrix (Vaidyanathan 1993, Multirate systems and filter banks, section 5.5).
    """
    h, g = (response(taps, n).reshape(2, -1) / np.sqrt(2.0) for taps in (low, high))
    a, b, c = (np.sum(p * q.conj(), axis=0) for p, q in ((h, h), (g, g), (h, g)))
    a, b = a.real, b.real
    largest = (a + b) / 2 + np.sqrt(((a - b) / 2) ** 2 + np.abs(c) ** 2)
    return float(largest.max()), float(a.max())
