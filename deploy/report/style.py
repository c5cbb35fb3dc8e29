"""The style sheet of the page: light and dark by the reader's setting, a laptop's column and a phone's width."""

from deploy.report.tints import variables

STYLE = (
    f"""
:root {{ color-scheme: light dark; {variables(dark=False)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {variables(dark=True)} }} }}
"""
    + """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", Arial, sans-serif; }
header, main, footer { max-width: 952px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 32px; }
.brand { margin: 0; color: var(--grey); font-size: 14px; letter-spacing: .04em; }
h1 { margin: 0; font-size: 30px; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 0 0 6px; font-size: 23px; line-height: 1.25; }
h3 { margin: 0 0 8px; font-size: 17px; line-height: 1.3; }
h4 { margin: 14px 0 4px; font-size: 14px; font-weight: 600; }
p { margin: 0 0 10px; max-width: 72ch; }
.lead { color: var(--grey); }
a { color: var(--blue); }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 14px 0 0; padding: 12px 0 0; list-style: none;
  border-top: 1px solid var(--line); font-size: 14.5px; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
section { margin-top: 44px; padding-top: 26px; border-top: 1px solid var(--line); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 8px 20px; margin: 0; max-width: 86ch; }
dt { font-weight: 600; }
dd { margin: 0; }
figure { margin: 26px 0 0; }
figure svg:not(.swatch) { display: block; width: 100%; height: auto; overflow: visible; }
figure svg text { font-family: inherit !important; }
figcaption { margin-top: 8px; font-size: 14.5px; line-height: 1.5; color: var(--grey); }
figcaption b { color: var(--ink); font-weight: 600; }
figcaption p { margin-bottom: 6px; max-width: 88ch; }
.missing { margin: 0; padding: 12px 14px; border-left: 3px solid var(--gold); background: var(--blank);
  color: var(--ink); font-size: 15px; max-width: none; }
svg.narrow { display: none !important; }
.on-dark { display: none; }
.key { display: flex; flex-wrap: wrap; gap: 2px 18px; margin: 0 0 6px; padding: 0; list-style: none; font-size: 14px; }
.key li { display: flex; align-items: center; gap: 7px; }
.swatch { width: 22px; height: 10px; fill: none; flex: none; }
.table { margin-top: 26px; }
.scroll { overflow-x: auto; }
.pair { display: flex; flex-wrap: wrap; gap: 0 56px; }
table { border-collapse: collapse; font-size: 14.5px; line-height: 1.4; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 5px 18px 5px 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--grey); font-weight: 500; border-bottom-color: var(--grey); }
tbody th { font-weight: 400; }
.note { margin: 8px 0 0; font-size: 14px; color: var(--grey); max-width: 100ch; }
.triples { display: flex; flex-wrap: wrap; gap: 8px 20px; }
.triple { display: flex; gap: 3px; flex: 1 1 320px; max-width: 450px; }
.triple img { width: calc((100% - 6px) / 3); aspect-ratio: 1; object-fit: fill; image-rendering: pixelated;
  border-radius: 3px; }
.queries { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 22px 28px; }
.query { display: flex; gap: 12px; align-items: flex-start; }
.asked { flex: none; width: 72px; font-size: 12px; line-height: 1.3; overflow-wrap: anywhere; }
.asked img { width: 100%; border-radius: 3px; display: block; margin-bottom: 4px; }
.found { flex: 1; display: grid; gap: 6px; }
.row { display: grid; grid-template-columns: repeat(5, 1fr); gap: 4px; }
.row span { grid-column: 1 / -1; font-size: 12px; line-height: 1.2; color: var(--grey); }
.row img { width: 100%; border-radius: 3px; border: 3px solid transparent; }
.row img.same { border-color: var(--green); }
footer { margin-top: 48px; padding-top: 18px; padding-bottom: 40px; font-size: 14px; color: var(--grey); }
@media (prefers-color-scheme: dark) { .on-dark { display: inline; } .on-light { display: none; } }
@media (max-width: 760px) {
  svg.wide { display: none !important; }
  svg.narrow { display: block !important; }
  h1 { font-size: 24px; } h2 { font-size: 20px; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 10px; }
  th, td { padding-right: 12px; }
  table { font-size: 13.5px; }
}
@media print { nav { display: none; } section { break-inside: avoid-page; } }
"""
)
