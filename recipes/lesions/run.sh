#!/bin/sh
# Three networks and four losses on skin lesions, three seeds each: ./run.sh [small|cpu|full] [WORK] [DATA]
. "$(dirname "$0")/../common.sh"
case $size in
    small) set -- --set "data.image_size=[48,64]" --set train.iterations=20 --set train.evaluate_every=5 ;;
    cpu) set -- --set "data.image_size=[96,128]" --set train.iterations=300 --set train.evaluate_every=30 ;;
    full) set -- ;;
esac

if [ -n "$data" ]; then
    once "$work/data/dataset.yaml" maskwright init "$data" --out "$work/data"
else # no photographs here: generated animals
    once "$work/data/dataset.yaml" maskwright demo --only-data --planted 0 --images 60 --size 128 --out "$work/data"
fi
once "$work/audit" maskwright audit "$work/data" --out "$work/audit" --fail-on never
run maskwright study "$here/$size.yaml" --set "data.root=$work/data" "$@" --workers 2 --out "$work/study"

# Curves: a chart for each network and loss, by network, by loss, the best ones, and the end of them enlarged.
for by in run network loss best; do
    once "$work/plots/$by" maskwright plot "$work/study" --by "$by" --out "$work/plots/$by"
done
once "$work/plots/end" maskwright plot "$work/study" --by best --from 50% --out "$work/plots/end"

# How each training went, the table with what is more than chance, and the page.
kept "$work/doctor.txt" maskwright doctor "$work/study"
kept "$work/table.txt" maskwright compare "$work/study" --select val
once "$work/report.html" maskwright report "$work/study" --out "$work/report.html"
