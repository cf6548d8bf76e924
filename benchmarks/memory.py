"""Peak memory of scoring two hours against ten minutes: at most 500 MB, and within 5 %, are wanted.

python benchmarks/memory.py
"""

from __future__ import annotations

from support import AVDETECT, hd_video, run


def main() -> None:
    peaks_mb = {}
    for minutes in (10, 120):
        file = hd_video(minutes * 60)
        result = run([*AVDETECT, "score", "--json", "--device", "cpu", str(file)])
        peaks_mb[minutes] = result.peak_mb
        print(f"{minutes} min: peak {result.peak_mb:.0f} MB, {minutes * 60 / result.wall_s:.0f}x real time")
    print(f"ratio of the peaks: {peaks_mb[120] / peaks_mb[10]:.3f}")


if __name__ == "__main__":
    main()
