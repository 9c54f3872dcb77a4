"""Says in words what the lag was in each phase of the load: median and maximum."""
import statistics
import sys


def lines(path):
    with open(path, encoding='ascii') as file:
        return [line.split(maxsplit=1) for line in file]


def main():
    phases = [(float(start), name.strip()) for start, name in lines(sys.argv[1])]
    samples = [(float(committed), float(lag)) for committed, lag in lines(sys.argv[2])]
    ends = [start for start, _ in phases[1:]] + [float('inf')]
    said = []
    for (start, name), end in zip(phases, ends):
        lags = [lag for committed, lag in samples if start <= committed < end]
        if lags:
            said.append(f'{name}: {statistics.median(lags):.0f} and {max(lags):.0f}')
    print('median and maximum of the lag in milliseconds, by writes a second: ' + '; '.join(said))


main()
