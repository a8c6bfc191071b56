"""Tries the page of `must serve` in headless Chromium: `python -m tests.tools.page_in_browser URL PHOTO OUT`.

At two widths: uploads a photo, moves the threshold, shows the layers, reads depth under the pointer and by keyboard,
takes a photo with a camera that the browser makes up, compares two models if the server has them, walks through the
page with the Tab key, asks the browser what a screen reader gets, and gives a file that is not a photo. Pictures are
written to OUT; wide.png is the one in the documentation. `--axe axe.min.js` also checks the page with axe-core.

Needs selenium, Chromium and its driver, which are not part of the tests.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

WIDTHS = {"wide": (1280, 900), "phone": (390, 844)}
SECONDS = 120
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")  # with permission
PLACE = """
  const area = document.querySelector("section canvas").getBoundingClientRect();
  return [area.top, area.bottom, window.innerHeight];
"""  # of the picture on the screen
SPOKEN = ("button", "checkbox", "combobox", "slider", "application", "DisclosureTriangle", "textbox", "group", "region")


def browser(size: tuple[int, int]) -> Any:
    """Returns a headless browser with a window of this width and height."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *CAMERA):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option(
        "mobileEmulation", {"deviceMetrics": {"width": size[0], "height": size[1], "pixelRatio": 1.0}}
    )
    return webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))


def wait(driver: Any, text: str) -> None:
    """Waits until the page's state begins with this text."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, SECONDS).until(lambda d: d.find_element("id", "state").text.startswith(text))


def objects(driver: Any) -> int:
    """Returns the number of objects in the list."""
    names = [item.text for item in driver.find_elements("css selector", "section li")]
    return sum(not name.startswith(("image:", "area:")) for name in names)


def set_value(driver: Any, name: str, value: float) -> None:
    """Moves a slider, or ticks a box if the value is 1."""
    script = """
      const element = document.getElementById(arguments[0]);
      if (element.type === "checkbox") element.checked = arguments[1] === 1;
      else element.value = arguments[1];
      element.dispatchEvent(new Event(element.type === "checkbox" ? "change" : "input"));
    """
    driver.execute_script(script, name, value)


def pixels(driver: Any) -> int:
    """Returns a checksum of the picture's pixels."""
    script = """
      const canvas = document.querySelector("section canvas");
      const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      return data.reduce((sum, value, i) => (sum * 31 + value + i) % 1000003, 7);
    """
    return int(driver.execute_script(script))


def picture(driver: Any, path: Path) -> None:
    """Takes a picture of the whole page."""
    height = driver.execute_script("return document.documentElement.scrollHeight")
    width = driver.execute_script("return document.documentElement.clientWidth")
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.save_screenshot(str(path))


def tried(flags: argparse.Namespace, name: str) -> list[str]:
    """Tries the page at one width. Returns a line for each thing that was seen."""
    driver = browser(WIDTHS[name])
    try:
        driver.get(flags.url)
        wait(driver, "Choose")
        driver.find_element("id", "file").send_keys(str(flags.photo.resolve()))
        wait(driver, "Done")
        seen = [f"state: {driver.find_element('id', 'state').text}"]
        top, bottom, screen = driver.execute_script(PLACE)
        assert top >= 0 and (top < screen / 2 or bottom <= screen), "the picture is out of sight"
        seen += layers(driver, flags.out, name) + pointer(driver)
        picture(driver, flags.out / f"{name}.png")
        seen += axe(driver, flags.axe) if flags.axe else []
        seen += keyboard(driver) + spoken(driver) + camera(driver)
        seen += compared(driver, flags.out, name) + mistaken(driver)
        overflow = driver.execute_script("return document.documentElement.scrollWidth > window.innerWidth")
        assert not overflow, "the page is wider than the window"
        errors = [entry["message"] for entry in driver.get_log("browser") if "favicon" not in entry["message"]]
        seen.append(f"messages of the browser: {errors}")
    finally:
        driver.quit()
    return seen


def layers(driver: Any, out: Path, name: str) -> list[str]:
    """Moves the threshold and shows the layers one by one: the picture must change every time."""
    set_value(driver, "threshold", 0.05)
    many = objects(driver)
    said = driver.find_element("id", "state").text
    assert f": {many} objects" in said, said
    set_value(driver, "threshold", 1.0)
    assert many > objects(driver) == 0
    set_value(driver, "threshold", 0.3)
    sums = {pixels(driver)}
    set_value(driver, "layer-masks", 0)
    sums.add(pixels(driver))
    set_value(driver, "layer-masks", 1)
    for layer in ("segmentation", "depth", "normals"):
        set_value(driver, f"layer-{layer}", 1)
        sums.add(pixels(driver))
        key = driver.find_element("css selector", "section .key")
        assert key.is_displayed() == (layer == "depth") and (layer != "depth" or key.text.endswith(" m")), layer
        if layer != "segmentation":
            picture(driver, out / f"{name}_{layer}.png")
        set_value(driver, f"layer-{layer}", 0)
    assert len(sums) == 5
    return [f"objects at 0.05 and 1.0: {many}, 0", f"different pictures of the layers: {len(sums)}"]


def pointer(driver: Any) -> list[str]:
    """Reads the place under the pointer, and the one to the left of it by a key."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    canvas = driver.find_element("css selector", "section canvas")
    ActionChains(driver).move_to_element(canvas).click().perform()  # a touch screen has no pointer that hovers
    probe = driver.find_element("css selector", ".probe")
    before, live = probe.text, probe.get_attribute("aria-live")
    assert " m" in before and "°" in before and live == "off"
    canvas.send_keys(Keys.ARROW_LEFT)
    assert probe.text != before and probe.get_attribute("aria-live") == "polite"
    return [f"pointer: {before}", f"one key to the left, read aloud: {probe.text}"]


def camera(driver: Any) -> list[str]:
    """Takes a photo. The camera must be off before the button is pressed, and afterwards."""
    button = driver.find_element("id", "camera")
    is_on = "return document.getElementById('video').srcObject !== null"
    assert not driver.execute_script(is_on)
    button.click()
    wait(driver, "The camera is on")
    assert driver.execute_script(is_on) and button.text == "Take the photo"
    driver.find_element("id", "stop").click()
    assert not driver.execute_script(is_on) and button.text == "Camera"
    button.click()
    wait(driver, "The camera is on")
    button.click()
    wait(driver, "Done")
    assert not driver.execute_script(is_on)
    return ["camera: off, on, stopped, on, a photo taken, off"]


def keyboard(driver: Any) -> list[str]:
    """Walks through the page with the Tab key: everything is reached, in the order in which it is seen."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    script = """
      const e = document.activeElement;
      const name = e.id || e.getAttribute("aria-label") || e.textContent.trim() || e.firstChild?.alt;
      return e === document.body ? "BODY" : (name || e.tagName).slice(0, 24);
    """
    driver.execute_script("document.getElementById('file').focus()")
    names: list[str] = []
    while (name := driver.execute_script(script)) not in ("BODY", *names[:1]):
        names.append(name)
        ActionChains(driver).send_keys(Keys.TAB).perform()
    ids = ["file", "camera", "first", "second", "layer-masks", "opacity-masks", "layer-boxes", "threshold"]
    assert [name for name in names if name in ids] == ids, names
    return [f"order of the Tab key: {', '.join(names)}"]


def spoken(driver: Any) -> list[str]:
    """Returns what a screen reader gets. Everything that can be used must have a name."""
    nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    told = []
    for node in nodes:
        role, name = (node.get(key, {}).get("value", "") for key in ("role", "name"))
        if not node.get("ignored") and role in SPOKEN:
            assert name or role == "group", f"{role} has no name"
            told.append(f"{role} {name!r}")
    return [f"screen reader: {'; '.join(told)}"]


def compared(driver: Any, out: Path, name: str) -> list[str]:
    """Chooses the server's second model beside the first, if it has one. One pointer reads both."""
    from selenium.webdriver.support.ui import Select

    second = Select(driver.find_element("id", "second"))
    if len(second.options) < 3:
        return ["one model: nothing to compare"]
    second.select_by_index(2)
    wait(driver, "Done")
    canvases = driver.find_elements("css selector", "section canvas")
    assert len(canvases) == 2
    canvases[0].click()
    probes = [probe.text for probe in driver.find_elements("css selector", ".probe")]
    assert all(" m" in probe for probe in probes)
    picture(driver, out / f"{name}_compared.png")
    second.select_by_index(0)
    wait(driver, "Done")
    return [f"two models at one place: {' | '.join(probes)}"]


def axe(driver: Any, script: Path) -> list[str]:
    """Returns axe-core's findings."""
    driver.execute_script(script.read_text())
    found = driver.execute_async_script(
        "const done = arguments[0]; axe.run().then((result) => done(result.violations))"
    )
    return [f"axe: {one['impact']} {one['id']}: {[node['target'] for node in one['nodes']]}" for one in found]


def mistaken(driver: Any) -> list[str]:
    """Gives a file that is not a photo."""
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(b"\xff\xd8\xff nothing")
        file.flush()
        driver.find_element("id", "file").send_keys(file.name)
        wait(driver, "No prediction")
    text = driver.find_element("id", "error").text
    assert "not served" in text
    assert not driver.find_elements("css selector", "section li"), "the objects of an earlier photo are still listed"
    return [f"a damaged file: {text}"]


def main() -> None:
    """Tries the page at both widths and prints what was seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.page_in_browser")
    parser.add_argument("url")
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--axe", type=Path, help="axe.min.js of axe-core")
    flags = parser.parse_args()
    flags.out.mkdir(parents=True, exist_ok=True)
    for name in WIDTHS:
        for line in tried(flags, name):
            print(f"{name}: {line}")


if __name__ == "__main__":
    main()
