#!/bin/sh
# Two animals, few of the pixels, some masks drawn badly: are they worth deleting or repairing?
# ./run.sh [small|cpu|full] [WORK] [DATA]
. "$(dirname "$0")/../common.sh"
images=200 pixels=256 wrong=15 search='--budget 10m'
case $size in
    small)
        images=60 pixels=96 wrong=5 search='--set train.iterations=10 --set train.budget=null'
        set -- --set "data.image_size=[64,64]" --set train.iterations=20 --set train.evaluate_every=10 \
            --set "model.args={base: 4, stages: 3}"
        ;;
    cpu)
        search='--budget 2m'
        set -- --set "data.image_size=[128,128]" --set train.iterations=300 --set train.evaluate_every=50 \
            --set "model.args={base: 8, stages: 5}"
        ;;
    full) set -- ;;
esac
one='s/\[0, 1, 2\]/[0]/' # one seed in place of three
[ "$size" = small ] && seeds=$one || seeds=
[ "$size" = full ] && tries= || tries=$one

# The data: names, balance and sizes are in the audit's page, with overlays.
if [ -n "$data" ]; then
    if [ ! -e "$work/data" ]; then # edits of masks are made in copies
        rm -rf "$work/data.part"
        cp -r "$data" "$work/data.part"
        mv "$work/data.part" "$work/data"
    fi
    once "$work/data/dataset.yaml" maskwright init "$work/data"
else
    once "$work/data" maskwright demo --only-data --subject hidden_animals --images $images --size $pixels \
        --planted $wrong --out "$work/data"
fi
once "$work/audit" maskwright audit "$work/data" --out "$work/audit" --overlays 12 --fail-on never

# v1 to v5 as one study, with a tracker where it is installed.
cp "$here/run.yaml" "$work/"
sed "$tries" "$here/versions.yaml" > "$work/versions.yaml"
sed "$seeds" "$here/quality.yaml" > "$work/quality.yaml"
maskwright doctor | grep -q 'extra clearml *clearml' && tracker='[{name: clearml, offline: true}]' || tracker='[]'
run maskwright study "$work/versions.yaml" "$@" --set "trackers=$tracker" --workers 2
kept "$work/versions.txt" maskwright compare "$work/studies/versions" --score mDice --select val
once "$work/versions.html" maskwright report "$work/studies/versions" --score mDice --out "$work/versions.html"

# Which masks are wrong: as many of the first suspects as masks may be wrong.
once "$work/suspects" maskwright suspects "$work/data" $search --out "$work/suspects"
grep -v -e '^val/' -e '^test/' "$work/suspects/ranked.txt" | head -n $wrong > "$work/first.txt"

# Deleted: these samples are left out. Repaired: they go to the annotator as COCO and come back as edits. Where the masks
# were planted, the annotator is the truth.
if [ ! -e "$work/deleted" ]; then
    rm -rf "$work/deleted.part"
    cp -r "$work/data" "$work/deleted.part"
    run maskwright edits "$work/deleted.part" --status exclude --samples "$work/first.txt"
    mv "$work/deleted.part" "$work/deleted"
fi
if [ ! -e "$work/repaired" ] && [ -d "$work/data/planted_truth" ]; then
    rm -rf "$work/repaired.part" "$work/truth"
    cp -r "$work/data" "$work/repaired.part"
    run maskwright edits "$work/repaired.part" --status suspect --samples "$work/first.txt"
    cp -r "$work/repaired.part" "$work/truth"
    cp -r "$work/truth/planted_truth/." "$work/truth/labels"
    rm -rf "$work/to-annotator"
    run maskwright convert "$work/truth" "$work/to-annotator" --flagged --to coco
    run maskwright import-edits "$work/to-annotator" --data "$work/repaired.part"
    mv "$work/repaired.part" "$work/repaired"
fi
[ -d "$work/repaired" ] || {
    echo "next: maskwright review $work/data, repair what is in first.txt, and copy the folder to $work/repaired" >&2
    exit 0
}

# What each is worth: the same config on the three datasets, judged on the same test images.
run maskwright study "$work/quality.yaml" "$@" --workers 2
kept "$work/table.txt" maskwright compare "$work/studies/quality" --score mDice --select val
once "$work/report.html" maskwright report "$work/studies/quality" --score mDice --out "$work/report.html"
# The ten best and the ten worst images.
once "$work/explained" maskwright explain "$(ls -d "$work"/studies/quality/runs/repaired* | head -n 1)" --top 10 \
    --out "$work/explained"
