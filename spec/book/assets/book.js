"use strict";

// The book is complete without this script: it filters the list of clauses on the first page,
// opens folded code that a link leads to, and unfolds everything for printing.

(function () {
  const field = document.getElementById("search");
  const list = document.getElementById("clauses");

  function words(text) {
    return text.toLowerCase().split(/\s+/).filter(Boolean);
  }

  function filter() {
    const wanted = words(field.value);
    const version = document.getElementById("version");
    const versions = version && version.value ? version.value : "";
    let shown = 0;
    for (const chapter of list.querySelectorAll("section")) {
      let inChapter = 0;
      for (const item of chapter.querySelectorAll("li[data-text]")) {
        const text = item.dataset.text;
        const holds = !versions || item.dataset.versions.split(" ").includes(versions);
        const matches = holds && wanted.every((word) => text.includes(word));
        item.hidden = !matches;
        inChapter += matches ? 1 : 0;
      }
      chapter.hidden = inChapter === 0;
      shown += inChapter;
    }
    const count = document.getElementById("count");
    count.textContent = shown === 1 ? "1 clause" : shown + " clauses";
  }

  if (field && list) {
    field.value = new URLSearchParams(window.location.search).get("q") || "";
    document.getElementById("filters").hidden = false;
    document.getElementById("version").addEventListener("change", filter);
    field.addEventListener("input", filter);
    field.form.addEventListener("submit", function (event) {
      event.preventDefault();
      filter();
      document.getElementById("clauses-title").scrollIntoView();
    });
    filter();
    if (field.value) {
      document.getElementById("clauses-title").scrollIntoView();
    }
  }

  document.addEventListener("keydown", function (event) {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  });

  function reveal() {
    const target = document.getElementById(decodeURIComponent(window.location.hash.slice(1)));
    for (let node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") {
        node.open = true;
      }
    }
  }
  window.addEventListener("hashchange", reveal);
  reveal();

  let folded = [];
  window.addEventListener("beforeprint", function () {
    folded = Array.from(document.querySelectorAll("details:not([open])"));
    folded.forEach((details) => { details.open = true; });
  });
  window.addEventListener("afterprint", function () {
    folded.forEach((details) => { details.open = false; });
  });
})();
