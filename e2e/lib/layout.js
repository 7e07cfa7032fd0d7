// What a page looks like, measured: labels that do not fit, bands without content, cards with more than one primary action.

/** Visible labels whose text does not fit into its box or its window. */
export const clipped = (page) =>
  page.evaluate(() => {
    const pen = document.createElement("canvas").getContext("2d");
    const found = [];
    for (const element of document.querySelectorAll("button, label, h1, h2, h3, dt, dd, summary, select, .pill, .top a, .empty:not(:empty)")) {
      if (!element.checkVisibility() || element.closest(".unseen, .skip, [aria-hidden='true']")) continue;
      const box = element.getBoundingClientRect();
      const style = getComputedStyle(element);
      let [left, right, top, bottom] = [box.left, box.right, box.top, box.bottom];
      if (element.localName === "select") {
        pen.font = style.font;
        // The arrow takes about as much room as a letter.
        right = box.left + parseFloat(style.paddingLeft) + pen.measureText(element.selectedOptions[0].text).width + parseFloat(style.fontSize);
      } else {
        const range = document.createRange();
        range.selectNodeContents(element);
        const text = range.getBoundingClientRect();
        if (text.width === 0) continue;
        [left, right, top, bottom] = [text.left, text.right, text.top, text.bottom];
      }
      const isOut = left < box.left - 1 || right > box.right + 1 || top < box.top - 6 || bottom > box.bottom + 6 || right > innerWidth + 1 || left < -1;
      if (isOut) found.push(`${element.localName}#${element.id}.${element.className}: ${element.textContent.trim().slice(0, 40)}`);
    }
    // A control that is wider than its place lies on its neighbour.
    for (const element of document.querySelectorAll("input, textarea, select, button")) {
      if (!element.checkVisibility() || element.closest(".unseen, .skip")) continue;
      const [box, place] = [element.getBoundingClientRect(), element.parentElement.getBoundingClientRect()];
      if (box.right > place.right + 1 || box.left < place.left - 1) found.push(`${element.localName}#${element.id} is wider than its place`);
    }
    return found;
  });

/** Vertical space without content between the parts of each container, where it is higher than two lines of text. */
export const bands = (page, containers) =>
  page.evaluate((containers) => {
    const found = [];
    for (const container of document.querySelectorAll(containers)) {
      const boxes = [...container.children].filter((part) => part.checkVisibility() && part.getBoundingClientRect().height > 0).map((part) => {
        const box = part.getBoundingClientRect();
        const isText = part.children.length === 0 && part.localName !== "canvas" && part.localName !== "textarea";
        if (!isText) return { top: box.top, bottom: box.bottom };
        const range = document.createRange();
        range.selectNodeContents(part);
        const text = range.getBoundingClientRect();
        return text.height > 0 && part.localName === "p" ? { top: text.top, bottom: text.bottom } : { top: box.top, bottom: box.bottom };
      });
      boxes.sort((a, b) => a.top - b.top);
      for (let at = 1, end = boxes[0]?.bottom ?? 0; at < boxes.length; at += 1) {
        const space = boxes[at].top - end;
        if (space > 48) found.push(`${container.localName}#${container.id}: ${Math.round(space)} px before part ${at}`);
        end = Math.max(end, boxes[at].bottom);
      }
    }
    return found;
  }, containers);

/** Cards with buttons that have not exactly one primary action. A card with a single button needs no mark. */
export const primaries = (page) =>
  page.evaluate(() =>
    [...document.querySelectorAll(".card, .talk")].filter((card) => card.checkVisibility()).flatMap((card) => {
      const buttons = [...card.querySelectorAll("button, a.button")].filter((one) => one.checkVisibility() && one.closest(".card, .talk") === card);
      const count = buttons.filter((one) => one.classList.contains("main")).length;
      return count === 1 || (count === 0 && buttons.length < 2) ? [] : [`${card.id || card.className}: ${count} of ${buttons.length}`];
    }));

/** Whether all of an element is in the part of the page that its window shows without scrolling. */
export const isAboveFold = (page, selector) =>
  page.evaluate((selector) => {
    scrollTo(0, 0);
    const { top, bottom, left, right } = document.querySelector(selector).getBoundingClientRect();
    return top >= 0 && left >= 0 && right <= innerWidth && bottom <= innerHeight && bottom > top;
  }, selector);

/** Visible texts with three or more English words in a row, where a page in Chinese should have none. */
export const english = (page, except = "code, pre") =>
  page.evaluate((except) => {
    const found = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      const element = walk.currentNode.parentElement;
      if (!element.checkVisibility() || element.closest(`noscript, #language, .skip, [lang="en"], ${except}`)) continue;
      if (/[a-z]{2,} [a-z]{2,} [a-z]{2,}/i.test(walk.currentNode.data)) found.push(walk.currentNode.data.trim());
    }
    return found;
  }, except);
