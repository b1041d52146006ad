"use strict";
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function drawCurves() {
  const curves = JSON.parse(document.getElementById("curves-data").textContent);
  const colour = getComputedStyle(document.body).color;
  const line = getComputedStyle(document.documentElement).getPropertyValue("--line");
  for (const place of document.querySelectorAll("[data-curve]")) {
    const figure = curves[place.dataset.curve];
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line };
    const layout = Object.assign({}, figure.layout, { font: { color: colour }, template: undefined });
    layout.xaxis = Object.assign({}, figure.layout.xaxis, axis);
    layout.yaxis = Object.assign({}, figure.layout.yaxis, axis);
    Plotly.react(place, figure.data, layout, { responsive: true, displayModeBar: false });
  }
}

function showSteps(figure) {
  const images = figure.querySelectorAll("img");
  const slider = figure.querySelector("input");
  const labels = JSON.parse(figure.dataset.labels);
  const show = (step) => {
    images.forEach((image, i) => { image.hidden = i !== step; });
    figure.querySelector("output").textContent = labels[step];
  };
  if (slider) slider.addEventListener("input", () => show(Number(slider.value)));
  show(images.length - 1);
}

function explore() {
  const data = document.getElementById("explorer-data");
  if (!data) return;
  const { axes, width, height, columns, sprite } = JSON.parse(data.textContent);
  const canvas = document.querySelector("#explorer canvas");
  const scale = Math.max(1, Math.ceil(240 / height));
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  const image = new Image();
  const state = axes.map((axis) => axis.start);
  const draw = () => {
    const tile = axes.reduce((index, axis, i) => index * axis.labels.length + state[i], 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(image, (tile % columns) * width, Math.floor(tile / columns) * height, width, height, 0, 0, canvas.width, canvas.height);
    canvas.dataset.tile = tile;
  };
  axes.forEach((axis, i) => {
    const label = document.createElement("label");
    const name = document.createElement("span");
    const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: axis.labels.length - 1, value: axis.start });
    const told = document.createElement(axis.pictures.length ? "img" : "output");
    name.textContent = axis.name;
    const tell = () => {
      if (axis.pictures.length) { told.src = axis.pictures[state[i]]; told.alt = axis.labels[state[i]]; } else told.textContent = axis.labels[state[i]];
    };
    slider.addEventListener("input", () => { state[i] = Number(slider.value); tell(); draw(); });
    label.append(name, slider, told);
    document.querySelector("#explorer .axes").append(label);
    tell();
  });
  image.addEventListener("load", draw);
  image.src = sprite;
}

document.querySelectorAll("figure.steps").forEach(showSteps);
explore();
drawCurves();
document.querySelectorAll("details").forEach((part) => part.addEventListener("toggle", drawCurves));
dark.addEventListener("change", drawCurves);
