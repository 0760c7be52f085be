(function () {
  "use strict";
  var SVG = "http://www.w3.org/2000/svg";
  document.querySelectorAll('[data-map="MARK"]').forEach(function (box) {
    if (box.dataset.ready) return;
    box.dataset.ready = "1";
    var data = JSON.parse(box.querySelector('script[type="application/json"]').textContent);
    var svg = box.querySelector("svg"), lines = svg.querySelector(".lines"), side = box.querySelector(".told");
    var dots = Array.prototype.slice.call(svg.querySelectorAll("circle"));
    var places = dots.map(function (dot) { return [+dot.getAttribute("cx"), +dot.getAttribute("cy")]; });
    var shown = -1;

    function text(kind, words) {
      var made = document.createElement(kind);
      made.textContent = words;
      return made;
    }

    function show(at) {
      if (at === shown) return;
      if (shown >= 0) {
        dots[shown].classList.remove("at");
        data.near[shown].forEach(function (pair) { dots[pair[0]].classList.remove("near"); });
      }
      shown = at;
      svg.classList.add("pointed");
      dots[at].classList.add("at");
      lines.replaceChildren();
      side.replaceChildren(text("b", data.names[at]));
      var about = [data.groups[at], data.ids[at] === data.names[at] ? "" : data.ids[at]];
      side.append(text("small", about.filter(Boolean).join(" · ")));
      var list = document.createElement("ol");
      data.near[at].forEach(function (pair) {
        dots[pair[0]].classList.add("near");
        var entry = text("li", data.names[pair[0]] + " ");
        entry.append(text("small", [pair[1].toFixed(2), data.groups[pair[0]]].filter(Boolean).join(" · ")));
        list.append(entry);
        var line = document.createElementNS(SVG, "line");
        ["x1", "y1", "x2", "y2"].forEach(function (end, i) {
          line.setAttribute(end, places[i < 2 ? at : pair[0]][i % 2]);
        });
        lines.append(line);
      });
      side.append(data.near[at].length ? list : text("p", "Nothing on this map is near it."));
    }

    function pointed(event) {
      var frame = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
      var x = (event.clientX - frame.left) * view.width / frame.width;
      var y = (event.clientY - frame.top) * view.height / frame.height;
      var best = -1, least = 18 * 18;
      places.forEach(function (place, i) {
        var far = (place[0] - x) * (place[0] - x) + (place[1] - y) * (place[1] - y);
        if (far < least) { least = far; best = i; }
      });
      if (best >= 0) show(best);
    }

    svg.addEventListener("pointermove", pointed);
    svg.addEventListener("pointerdown", pointed);
    box.querySelector("input").addEventListener("input", function (event) {
      var wanted = event.target.value.trim().toLowerCase();
      if (!wanted) return;
      var found = data.names.findIndex(function (name, i) {
        return name.toLowerCase().indexOf(wanted) >= 0 || data.ids[i].toLowerCase() === wanted;
      });
      if (found >= 0) show(found);
    });
  });
})();
