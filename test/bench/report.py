"""Makes the table of results, in Markdown, from the rows that were announced and the
measurements of each: medians, the ratio of the pairs, and whether the goal was met."""
import argparse
import collections
import statistics

TITLES = {
    'catch_up': 'catching up',
    'writers': 'writers',
    'beside_writers': 'catching up beside writers',
    'freshness': 'freshness',
    'idle': 'idle',
    'growth': 'growth',
    'reading': 'reading',
    'identity': 'replica identity',
    'hot_rows': 'hot rows',
    'temporary_files': 'temporary files',
    'build': 'building',
    'window': 'the window of applied WAL',
    'followers': 'followers',
    'notifications': 'notifications',
    'views': 'views',
    'model': 'model of more cores',
}


def number(value):
    """Three digits, or all that are before the point."""
    if value == 0:
        return '0'
    if abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:.{2 if abs(value) < 10 else 1}f}' if abs(value) >= 0.1 else f'{value:.2g}'


def ratio_text(ratios):
    if not ratios:
        return '–', ''
    return number(statistics.median(ratios)), f'{number(min(ratios))} – {number(max(ratios))}'


def verdict(goal, value, ratios):
    """The goal in words, and whether it was met."""
    if not goal:
        return '', ''
    what, operator, limit = goal.split()
    if what == 'ratio' and not ratios:
        return goal, '?'
    measured = statistics.median(ratios) if what == 'ratio' else value
    met = measured <= float(limit) if operator == '<=' else measured >= float(limit)
    sign = {'<=': '≤', '>=': '≥'}[operator]
    return (f'{"ratio " if what == "ratio" else ""}{sign} {limit}',
            'yes' if met else '**no**')


def cell(what, value, unit):
    text = f'{number(value)} {unit}'.strip()
    return f'{what}: {text}' if what else text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--part', help='only this one')
    parser.add_argument('rows')
    parser.add_argument('measurements')
    arguments = parser.parse_args()

    measured = collections.defaultdict(list)
    with open(arguments.measurements, encoding='utf-8') as file:
        for line in file:
            key, ours, beside = line.rstrip('\n').split('\t')
            measured[key].append((float(ours), float(beside) if beside else None))

    with open(arguments.rows, encoding='utf-8') as file:
        rows = [line.rstrip('\n').split('\t') for line in file]
    rows = [row for row in rows if arguments.part in (None, row[0])]
    if not rows:
        return
    print('| part | measured | | compared with | ratio | lowest – highest | goal | met |')
    print('|---|---|---|---|---|---|---|---|')
    for part, key, unit, goal, what, beside in rows:
        pairs = measured[key]
        ours = statistics.median(pair[0] for pair in pairs)
        others = [pair[1] for pair in pairs if pair[1] is not None]
        ratios = [pair[0] / pair[1] for pair in pairs if pair[1]]
        median, spread = ratio_text(ratios)
        print('|', ' | '.join((
            TITLES[part], what, cell('', ours, unit),
            cell(beside, statistics.median(others), unit) if others else '–',
            median, spread, *verdict(goal, ours, ratios))), '|')


main()
