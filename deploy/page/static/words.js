// Numbers as people read them, and elements made of them. Text from the run only ever becomes text.

export const NONE = "–";

export function count(number) {
  return number < 1e7 ? Math.round(number).toLocaleString("en") : `${(number / 1e6).toFixed(1)} M`;
}

export function decimal(number, digits = 3) {
  return Number.isFinite(number) ? number.toFixed(digits).replace("-", "−") : NONE;
}

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

export function size(bytes) {
  return bytes < 2 ** 33 ? `${count(bytes / 2 ** 20)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

export function plural(number, word) {
  return `${count(number)} ${word}${Math.round(number) === 1 ? "" : "s"}`;
}

/** Makes an element with a class and children, which are elements or text. */
export function made(tag, kind = "", ...children) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  element.append(...children);
  return element;
}

export function drawn(tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Changes text only where it is another, so that nothing is read out or laid out twice. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
