// The timeline of the answer plays the song, and screen readers are told what happens.
(() => {
  const player = () => document.querySelector("#song audio");
  const slider = () => document.querySelector("#answer .seek");
  const isSlider = (element) => element.matches?.("#answer .seek");
  const status = document.createElement("p");
  status.className = "unseen";
  status.setAttribute("role", "status");

  const clock = (seconds, total) =>
    total < 10
      ? `${seconds.toFixed(1)} s`
      : `${Math.floor(Math.round(seconds) / 60)}:${String(Math.round(seconds) % 60).padStart(2, "0")}`;

  const show = (range, seconds) => {
    const moments = JSON.parse(range.dataset.moments);
    const heard = moments.find(([end]) => seconds < end) ?? moments.at(-1);
    range.value = seconds;
    range.setAttribute("aria-valuetext", `${clock(seconds, range.max)}, ${heard[1]}`);
  };

  const move = (range, seconds) => {
    const time = Math.min(Math.max(seconds, 0), range.max);
    show(range, time);
    if (player()) player().currentTime = time;
  };

  document.addEventListener("input", ({ target }) => isSlider(target) && move(target, +target.value));
  const play = () => player()?.play().catch(() => {}); // The note below says that it cannot.
  // A finger that taps a slider makes no click.
  for (const name of ["click", "pointerup"])
    document.addEventListener(name, ({ target }) => isSlider(target) && play());
  document.addEventListener("keydown", (event) => {
    const range = event.target;
    if (!isSlider(range) || event.ctrlKey || event.altKey || event.metaKey) return;
    const step = Math.min(5, range.max / 20);
    const by = { ArrowRight: step, ArrowUp: step, ArrowLeft: -step, ArrowDown: -step };
    by.PageUp = 4 * step;
    by.PageDown = -4 * step;
    if (event.key in by) move(range, +range.value + by[event.key]);
    else if (event.key === "Enter" || event.key === " ")
      player()?.paused ? play() : player()?.pause();
    else return;
    event.preventDefault();
  });
  // Events of media do not bubble, but they can be captured.
  document.addEventListener(
    "timeupdate",
    ({ target }) => target === player() && slider() && show(slider(), target.currentTime),
    true,
  );

  const label = () => {
    const examples = document.querySelector("#examples");
    examples?.setAttribute("role", "group");
    examples?.setAttribute("aria-labelledby", "try");
    player()?.setAttribute("aria-label", "Your song");
    // Its visible text is its name.
    document.querySelector("#song .upload-container")?.removeAttribute("aria-label");
    const text = document.querySelector("#answer [data-status]")?.dataset.status ?? "";
    if (text !== status.textContent) status.textContent = text;
    const hint = document.querySelector("#answer .hint");
    const silent = "This browser cannot play the file; the answer holds all the same.";
    if (hint && player()?.error && hint.textContent !== silent) hint.textContent = silent;
  };
  document.addEventListener("error", label, true);
  document.body.append(status); // Gradio runs this script once there is a body.
  new MutationObserver(label).observe(document.body, { childList: true, subtree: true });
})();
