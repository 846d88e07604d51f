"""How well a page can be read."""

CONTRASTS = """() => {
  const luminance = color => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(it => it / 255)
      .map(it => it <= 0.03928 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle;
  const behind = it => { while (style(it).backgroundColor === 'rgba(0, 0, 0, 0)') it = it.parentElement;
    return style(it).backgroundColor; };
  const texts = 'h1, h2, p, a, dt, dd, th, td.number, small, .mark, svg text';
  return [...document.querySelectorAll(texts)].map(it => {
    const ink = luminance(it.namespaceURI.includes('svg') ? style(it).fill : style(it).color);
    const [low, high] = [ink, luminance(behind(it))].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  });
}"""
"""JavaScript: how far each text stands out from what is behind it, as WCAG 2 defines it."""
