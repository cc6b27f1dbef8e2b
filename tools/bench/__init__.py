"""Side-by-side timings, as ratios: `python -m tools.bench [startup paint decode cancel pull]`."""
