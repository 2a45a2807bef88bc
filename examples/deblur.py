"""Take a blur off a picture by total variation, and differentiate the result in the weight and in the kernel.

python examples/deblur.py
"""

import numpy as np

import opalg as oa

# A picture of 96 x 96 with two rectangles, blurred by a Gaussian of width 2, with noise.
rng = np.random.default_rng(0)
truth = np.zeros((96, 96))
truth[15:60, 30:75] = 0.8
truth[45:85, 10:40] += 0.2
r = np.arange(-8, 9)
kernel = np.exp(-(r[:, None] ** 2 + r**2) / 8.0)
kernel /= kernel.sum()
y = oa.Convolve(kernel, shape=truth.shape) @ truth + 0.01 * rng.standard_normal(truth.shape)

# The energy: data term, total variation, nonnegativity. Whatever may change, or is to be learnt, is a Parameter.
x = oa.Variable(truth.shape, name="x")
k = oa.Parameter(kernel, name="k")
lam = oa.Parameter(2e-3, name="lambda", nonneg=True)
K = oa.Convolve(k, shape=x.shape, boundary="periodic")
D = oa.Gradient(x.shape, boundary="periodic")
E = 0.5 * oa.sum_squares(K @ x - y) + lam * oa.norm21(D @ x) + oa.indicator(x >= 0)

plan = oa.compile(E)
print(plan.explain())
sol = plan.solve(tol=1e-4)
print(f"\n{sol}")
print(f"PSNR {oa.metrics.psnr(y, truth):.2f} dB blurred, {oa.metrics.psnr(sol.x, truth):.2f} dB restored")

# The gradient of the squared error in the weight and in all 289 entries of the kernel: one linear system.
g = sol.vjp(2 * (sol.x - truth), wrt=[lam, k], tol=1e-2, max_iter=300, on_inexact="warn")
print(g)
print(f"d loss / d lambda = {float(g[lam]):.4g}, |d loss / d k| = {np.linalg.norm(g[k]):.4g}")
