#!/bin/sh
# SegFormer on a CPU: weights of the background, other networks, what the guard refuses, and a filter that is proved.
# ./run.sh [small|cpu|full] [WORK] [DATA]
. "$(dirname "$0")/../common.sh"
images=200 pixels=256
case $size in
    small)
        images=60 pixels=96
        set -- --set "data.image_size=[64,64]" --set train.iterations=10 --set train.evaluate_every=5
        ;;
    cpu)
        set -- --set "data.image_size=[96,96]" --set train.iterations=400 --set train.evaluate_every=50 \
            --set optimizer.lr=3.0e-4
        ;;
    full) set -- ;;
esac

if [ -n "$data" ]; then
    once "$work/data/dataset.yaml" maskwright init "$data" --out "$work/data"
else
    once "$work/data" maskwright demo --only-data --subject hidden_animals --planted 0 --images $images --size $pixels \
        --out "$work/data"
fi
[ "$size" = small ] && study=small || study=study
cp "$here/run.yaml" "$work/"
cp "$here/$study.yaml" "$work/study.yaml"
[ "$size" = cpu ] && echo 'matrix: {seed: [0, 1, 2]}' >> "$work/study.yaml"
run maskwright study "$work/study.yaml" --set "data.root=$work/data" "$@" --workers 2 --out "$work/study"
kept "$work/table.txt" maskwright compare "$work/study" --select val
once "$work/report.html" maskwright report "$work/study" --out "$work/report.html"
kept "$work/doctor.txt" maskwright doctor "$work/study"

# A filter of small components: chosen on validation images, proved on the test images.
first=$(ls -d "$work"/study/runs/b0-background-0.1* | head -n 1)
kept "$work/tuned.txt" maskwright tune "$first"
kept "$work/without.txt" maskwright evaluate "$first" --no-postprocess
kept "$work/with.txt" maskwright evaluate "$first"

# What the guard says of a test set of one image, in which a class is absent.
if [ -z "$data" ]; then
    if [ ! -e "$work/one" ]; then
        rm -rf "$work/one.part"
        mkdir -p "$work/one.part/img/test" "$work/one.part/labels/test"
        for folder in img labels; do
            cp "$(ls "$work/data/$folder"/test/* | head -n 1)" "$work/one.part/$folder/test/"
        done
        cp "$work/data/classes.txt" "$work/one.part/"
        run maskwright init "$work/one.part"
        mv "$work/one.part" "$work/one"
    fi
    [ -e "$work/one.txt" ] || rm -rf "$work/one-scored" # of a kill after the scores and before the text
    kept "$work/one.txt" maskwright evaluate "$first" --data "$work/one" --out "$work/one-scored"
fi
