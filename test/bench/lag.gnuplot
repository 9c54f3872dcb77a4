# Draws lag.svg: above, each row of the probe by when it was committed and how long it took to
# be visible; below, the writes a second. Variables: samples, load, phases (files whose first
# column is a time), and output.
if (!exists("terminal")) terminal = "svg size 960,540 font 'sans-serif,13' background '#ffffff'"
set terminal @terminal
set output output

stats phases using 1 nooutput
start = STATS_min
stats samples using ($1 - start) name "TIME" nooutput
set xrange [0:TIME_max]
set grid ytics lc rgb '#dddddd'
set border 3 lc rgb '#555555'
set xtics nomirror out
set ytics nomirror out
set lmargin 12
set rmargin 3
unset key
set y2range [0:1]    # for what is drawn at a height of the panel

set multiplot
set origin 0, 0.36
set size 1, 0.64
set bmargin 1
set tmargin 3
set title "Lag of the rollup: from COMMIT until a reader sees it" font ',15'
set ylabel "milliseconds"
set logscale y
set yrange [*:*]
set format x ""
plot phases using ($1 - start):(0):(0):(1) axes x1y2 with vectors nohead lc rgb '#aaaaaa' dt 2, \
     phases using ($1 - start + 0.4):(0.96):2 axes x1y2 with labels left tc rgb '#555555', \
     samples using ($1 - start):($2 < 0.5 ? 0.5 : $2) with points pt 7 ps 0.3 lc rgb '#1f6fb4'

set origin 0, 0
set size 1, 0.36
set tmargin 0
set bmargin 4
unset title
unset logscale y
set yrange [0:*]
set format x "%g"
set xlabel "seconds"
set ylabel "writes a second"
plot load using ($1 - start):2 with filledcurves y1=0 fc rgb '#f3d9b1', \
     load using ($1 - start):2 with lines lw 1.5 lc rgb '#c9791b'
unset multiplot
