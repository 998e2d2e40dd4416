// Trainings of the dataset with their progress and pages, outputs of verbs, and a try of a run on an image.

import { get, post } from "/static/api.js";
import { make, toast } from "/static/toast.js";

const section = document.getElementById("runs");
let timer = 0;

export async function showRuns() {
  clearTimeout(timer);
  let found;
  try {
    found = await get("/api/runs");
  } catch (error) {
    return toast(error.message, true);
  }
  if (section.hidden) return;
  const cards = found.runs.flatMap((run, place) => (run.in_study ? [] : [card(run, place)]));
  section.replaceChildren(
    make("h2", { text: "Runs" }),
    ...(found.runs.length ? cards : [make("p", { text: "No run in the folder of the dataset, or beside it. `maskwright train run.yaml` makes one." })]),
    ...(found.studies.length ? [make("h2", { text: "Studies" })] : []), ...found.studies.map((study, place) => board(study, place)),
    tryOut(found),
    ...(found.outputs.length ? [make("h2", { text: "Outputs" })] : []),
    make("ul", {}, ...found.outputs.flatMap((one) => one.pages.map((page) => make("li", {}, link(`output/${encodeURIComponent(one.name)}`, page, `${one.name}: ${page}`))))),
  );
  const under_way = [found.runs, ...found.studies.map((study) => study.runs ?? [])].flat();
  if (under_way.some((run) => run.state === "running")) timer = setTimeout(() => section.hidden || showRuns(), 3000);
}

const link = (place, page, text) => make("a", { href: `/pages/${place}/${page.split("/").map(encodeURIComponent).join("/")}`, target: "_blank", rel: "noopener", text });

function card(run, place) {
  const facts = run.error ?? [
    run.state, run.iterations ? `iteration ${run.iteration.toLocaleString("en")} of ${run.iterations.toLocaleString("en")}` : `iteration ${run.iteration.toLocaleString("en")}`,
    ...(run.val_mIoU == null ? [] : [`best validation mIoU ${run.val_mIoU.toFixed(3)}`]),
  ].join(", ");
  return make("article", { className: "run" },
    make("h3", { text: run.name }), make("p", { text: facts }),
    ...(run.iterations ? [make("progress", { max: run.iterations, value: run.iteration, "aria-label": "iterations" })] : []),
    ...(run.loss?.length > 1 ? [curve("loss", run.loss)] : []), ...(run.scores?.length > 1 ? [curve("validation mIoU", run.scores)] : []),
    make("p", {}, ...run.pages.flatMap((page) => [link(`run/${place}`, page, page), " "])));
}

// The runs of a study by their best validation score.
function board(study, place) {
  const box = make("article", { className: "run" }, make("h3", { text: study.name }));
  if (study.error) return box.append(make("p", { text: study.error })), box;
  const cell = (text) => make("td", { text });
  const brief = (value) => (typeof value === "number" ? String(Number(value.toPrecision(4))) : typeof value === "string" ? value : JSON.stringify(value) ?? "");
  const done = (run) => (run.iterations ? `${run.iteration.toLocaleString("en")} of ${run.iterations.toLocaleString("en")}` : run.iteration.toLocaleString("en"));
  const row = (run, rank) => {
    const page = study.pages.find((one) => one.startsWith(`runs/${run.name}/`));
    const name = page ? link(`study/${place}`, page, run.name) : make("span", { text: run.name });
    return make("tr", {}, cell(run.val_mIoU == null ? "" : rank + 1), make("td", {}, name), cell(run.val_mIoU?.toFixed(4) ?? ""),
      cell(run.state), cell(done(run)), ...run.values.map((value) => cell(brief(value))));
  };
  const head = ["place", "run", "best validation mIoU", "state", "iterations", ...study.keys];
  box.append(
    make("p", { text: `A ${study.kind} of ${study.runs.length} runs. The first of many is partly the luckiest one: \`${study.compare}\` says which differences are noise.` }),
    make("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": `Runs of ${study.name}` },
      make("table", {}, make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col", text })))), make("tbody", {}, ...study.runs.map(row)))),
    make("p", {}, ...study.pages.filter((page) => !page.startsWith("runs/")).flatMap((page) => [link(`study/${place}`, page, page), " "])));
  return box;
}

const SVG = "http://www.w3.org/2000/svg";

function curve(title, points) {
  const svg = document.createElementNS(SVG, "svg"), line = document.createElementNS(SVG, "polyline");
  const xs = points.map(([x]) => x), ys = points.map(([, y]) => y);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  svg.setAttribute("viewBox", "0 0 300 60");
  svg.setAttribute("role", "img");
  const text = `${title} from ${ys[0].toFixed(3)} to ${ys.at(-1).toFixed(3)}`;
  svg.setAttribute("aria-label", text);
  line.setAttribute("points", points.map(([x, y]) => `${(300 * (x - left)) / (right - left || 1)},${56 - (52 * (y - low)) / (high - low || 1)}`).join(" "));
  svg.append(line);
  return make("figure", {}, svg, make("figcaption", { text }));
}

function tryOut(found) {
  const box = make("section", { className: "try", "aria-label": "Try a run" }, make("h2", { text: "Try a run on an image" }));
  const usable = found.runs.map((run, place) => [run, place]).filter(([run]) => run.model);
  if (!usable.length || found.lacking) {
    box.append(make("p", { text: found.lacking ?? "There is no run with a checkpoint yet." }));
    return box;
  }
  const choice = make("select", { "aria-label": "Run" }, ...usable.map(([run, place]) => make("option", { value: place, text: run.name })));
  const file = make("input", { type: "file", accept: "image/*", "aria-label": "Image" });
  const result = make("div", { className: "result" });
  const send = async (picture) => {
    if (!picture) return;
    result.replaceChildren(make("p", { text: "The model is looking …", role: "status" }));
    try {
      const bytes = new Uint8Array(await picture.arrayBuffer());
      let text = "";
      for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
      const answer = await post("/api/try", { run: Number(choice.value), image: btoa(text) });
      const binary = Uint8Array.from(atob(answer.overlay), (letter) => letter.charCodeAt(0));
      const address = URL.createObjectURL(new Blob([binary], { type: "image/jpeg" }));
      result.replaceChildren(make("img", { src: address, alt: "The image with the mask that the run gives it" }),
        make("ul", {}, ...answer.classes.map((one) => make("li", { text: `${one.name}: ${one.share}` }))));
    } catch (error) {
      result.replaceChildren(make("p", { text: error.message, role: "alert" }));
    }
  };
  file.addEventListener("change", () => send(file.files[0]));
  box.addEventListener("dragover", (event) => (event.preventDefault(), box.classList.add("over")));
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    send(event.dataTransfer.files[0]);
  });
  box.append(make("p", { text: "Drop an image here, or choose a file. It stays on this machine." }), choice, file, result);
  return box;
}
