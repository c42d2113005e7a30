"""Time and memory of four attentions against the number of points, each with the exponent of a fitted power.

    python benchmarks/bench_attention.py [--points 256 512 ... ] [--device cpu|cuda] [--repeats 5]

    galerkin     q (kᵀ v) / n, as HiNOTE and SRNO have it                             n d²
    softmax      torch's fused scaled_dot_product_attention                            n² d
    favor        softmax by m positive random features (Choromanski et al. 2021)       n m d
    probsparse   softmax of the log n queries that stand out (Zhou et al. 2021)        n log n d

One head, d = 16 channels, batch 1, float32, no gradient, one thread on a CPU; q, k and v are given, so that what
differs is the attention.  Seconds are the least of the repeats.  The exponent is the slope of log seconds on log points
over the upper half of the points, where what a call costs beside its work is small; of memory (CUDA only) likewise.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from torch import Tensor

CHANNELS, FEATURES, FACTOR = 16, 64, 5
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def galerkin(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return q @ (k.mT @ v / k.shape[-2])


def softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


def favor(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """φ(x) = exp(w x − |x|²/2) / √m, w normal: ⟨φ(q), φ(k)⟩ is exp(q k) in the mean."""
    w = torch.randn(CHANNELS, FEATURES, generator=torch.Generator().manual_seed(0)).to(q)

    def features(x: Tensor) -> Tensor:
        x = x / CHANNELS**0.25
        exponent = x @ w - x.square().sum(-1, keepdim=True) / 2
        return torch.exp(exponent - exponent.amax((-1, -2), keepdim=True))

    of_q, of_k = features(q), features(k)
    return of_q @ (of_k.mT @ v) / (of_q @ of_k.sum(-2, keepdim=True).mT)


def probsparse(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Queries that stand out by max − mean of their products with FACTOR log n keys drawn at random."""
    n = k.shape[-2]
    few = min(n, FACTOR * math.ceil(math.log(n)))
    drawn = torch.randint(n, (few,), generator=torch.Generator().manual_seed(0)).to(q.device)
    products = q @ k[..., drawn, :].mT
    apart = products.amax(-1) - products.mean(-1)
    chosen = apart.topk(few, dim=-1).indices[..., None].expand(*q.shape[:-2], few, CHANNELS)
    out = v.mean(-2, keepdim=True).expand(v.shape).clone()
    return out.scatter(-2, chosen, F.scaled_dot_product_attention(q.gather(-2, chosen), k, v))


ATTENTIONS: dict[str, Attention] = {"galerkin": galerkin, "softmax": softmax, "favor": favor, "probsparse": probsparse}


def measured(attention: Attention, points: int, device: str, repeats: int) -> tuple[float, float | None]:
    """Least seconds of a call, and the most bytes that it held beside q, k and v."""
    q, k, v = (torch.randn(1, 1, points, CHANNELS, device=device) for _ in range(3))
    attention(q, k, v)
    best, on_gpu = math.inf, device == "cuda"
    # On a CPU the processor's own time: others may be at work beside.
    clock = time.perf_counter if on_gpu else time.process_time
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    for _ in range(repeats):
        began = clock()
        attention(q, k, v)
        if on_gpu:
            torch.cuda.synchronize()
        best = min(best, clock() - began)
    return best, float(torch.cuda.max_memory_allocated() - before) if on_gpu else None


def exponent(points: Sequence[int], values: Sequence[float]) -> float:
    """Least-squares slope of log values on log points, over the upper half of the points."""
    half = len(points) // 2
    x = [math.log(n) for n in points[half:]]
    y = [math.log(max(value, 1e-300)) for value in values[half:]]
    mean = sum(x) / len(x)
    return sum((a - mean) * b for a, b in zip(x, y, strict=True)) / sum((a - mean) ** 2 for a in x)


def agreement() -> dict[str, float]:
    """Relative distance to exact softmax of those that stand for it, small products: random features are fair there."""
    q, k, v = (0.3 * torch.randn(1, 1, 512, CHANNELS, generator=torch.Generator().manual_seed(s)) for s in range(3))
    exact = softmax(q, k, v)
    return {name: float((ATTENTIONS[name](q, k, v) - exact).norm() / exact.norm()) for name in ("favor", "probsparse")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[2**i for i in range(8, 16)])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    if len(points := sorted(set(asked.points))) < 4:
        parser.error("a slope over the upper half of the points takes at least 4 of them")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with torch.no_grad():
        found = {
            name: [measured(attention, n, asked.device, asked.repeats) for n in points]
            for name, attention in ATTENTIONS.items()
        }
        print("distance to exact softmax: " + ", ".join(f"{name} {d:.2g}" for name, d in agreement().items()))
    print("milliseconds".ljust(12) + "".join(f"{n:>10}" for n in points) + "  exponent")
    for name, rows in found.items():
        seconds = [s for s, _ in rows]
        print(name.ljust(12) + "".join(f"{1e3 * s:>10.3f}" for s in seconds) + f"{exponent(points, seconds):>10.2f}")
    if asked.device == "cuda":
        print("MiB".ljust(12) + "".join(f"{n:>10}" for n in points) + "  exponent")
        for name, rows in found.items():
            held = [b or 0.0 for _, b in rows]
            print(name.ljust(12) + "".join(f"{b / 2**20:>10.2f}" for b in held) + f"{exponent(points, held):>10.2f}")


if __name__ == "__main__":
    main()
