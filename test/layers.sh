#!/bin/bash
# Checks that the folders of src/ are layers: each uses only itself and those before it, by
# includes and, if the tree was built, by calls. Also checks that the includes form no circle.
#
#   test/layers.sh
set -euo pipefail
cd "$(dirname "$0")/.."

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
status=0

# "user used", as folder/file, for each of our headers that a file includes
awk 'function module(path) { sub(/^src\//, "", path); sub(/\.[ch]$/, "", path); return path }
     BEGIN { for (i = 1; i < ARGC; i++) { name = ARGV[i]; sub(/.*\//, "", name); path[name] = ARGV[i] } }
     match($0, /^#include "[a-z0-9_]+\.h"/) {
         name = substr($0, 11, RLENGTH - 11)
         if (name in path && module(path[name]) != module(FILENAME)) print module(FILENAME), module(path[name])
     }' src/*/*.h src/*/*.c | sort -u >"$WORK/includes"
[ -s "$WORK/includes" ]

# the same for each of our functions and variables that an object uses
nm -g src/*/*.o 2>/dev/null |
    awk '/:$/ { sub(/^src\//, ""); sub(/\.o:$/, ""); file = $0 }
         NF == 3 { defined[$3] = file }
         NF == 2 && $1 == "U" { used[file " " $2] }
         END { for (use in used) { split(use, f, " "); if (f[2] in defined) print f[1], defined[f[2]] } }' >"$WORK/symbols"

awk 'BEGIN { n = split("base definition split decode catalog maintain server", folder, " "); for (i = 1; i <= n; i++) layer[folder[i]] = i }
     { split($1, user, "/"); split($2, used, "/") }
     !(user[1] in layer) { print "src/" user[1] " is no layer"; bad = 1 }
     layer[user[1]] < layer[used[1]] { print "src/" $1 " must not use src/" $2 ", which is in a higher layer"; bad = 1 }
     END { exit bad }' <(sort -u "$WORK/includes" "$WORK/symbols") || status=1
tsort "$WORK/includes" >/dev/null 2>"$WORK/circle" || {
    echo "includes form a circle, for example:"
    sed -n '1d; /contains a loop/q; s/^tsort: /  src\//p' "$WORK/circle"
    status=1
}
exit "$status"
