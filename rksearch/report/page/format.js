// Numbers as people read them: the same words as `rksearch.report.text`.

const MISSING = "–";

// A number with so many decimals, halves to the even digit, as Python rounds.
const fixed = (value, digits) => {
  const half = Number.isInteger(value * 2 ** (digits + 1)) && !Number.isInteger(value * 2 ** digits);
  if (!half) return value.toFixed(digits);
  const below = Math.floor(value * 10 ** digits);
  return ((below % 2 ? below + 1 : below) / 10 ** digits).toFixed(digits);
};

const size = (value) => {
  for (const [factor, suffix] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    // 999,950 is a million when rounded to three digits, not 1000k.
    if (value >= factor * 0.9995) {
      const scaled = value / factor;
      return fixed(scaled, scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0) + suffix;
    }
  }
  return value < 10 && value !== Math.round(value) ? value.toPrecision(2) : fixed(value, 0);
};

const tick = (value) => size(value).replace(/(\.\d*?)0+(?=[kMG]?$)/, "$1").replace(/\.(?=[kMG]?$)/, "");

const share = (value) => {
  const percent = Number(fixed(100 * value, 0));
  if (percent === 0 && value > 0) return "< 1 %";
  return percent === 100 && value < 1 ? "> 99 %" : `${percent} %`;
};

const duration = (seconds) => {
  if (seconds < 90) return `${fixed(seconds, 0)} s`;
  const minutes = Number(fixed(seconds / 60, 0));
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
};

const count = (number, singular) => `${number.toLocaleString("en")} ${singular}${number === 1 ? "" : "s"}`;

const meanSd = (mean, sd) =>
  sd === null || sd === undefined ? `${fixed(mean, 2)} %` : `${fixed(mean, 2)} ± ${fixed(sd, 2)} %`;

// A cell of the table, and a line of a hover or a card.
const show = (net, { field, kind, sd }) => {
  const value = net[field];
  if (value === null || value === undefined || value === "" || (Array.isArray(value) && !value.length)) return MISSING;
  // Probabilities that are 1 by the cost alone.
  if ((field === "p_front" && net.smallest) || (field === "p_macs_front" && net.fewest_macs)) return "smallest";
  switch (kind) {
    case "flag": return value ? "yes" : "";
    case "pct": return meanSd(value, sd ? net[sd] : null);
    case "list": return value.join(", ");
    case "whole": return value.toLocaleString("en");
    case "size": return size(value);
    case "seconds": return duration(value);
    case "share": return share(value);
    case "ms": return `${Number(value.toPrecision(3))} ms`;
    case "text": return String(value);
    default: return typeof value === "number" ? value.toPrecision(3) : String(value);
  }
};

const plain = (value) => String(value).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
