"""Tries the page of `must serve` in headless Chromium: `python -m tests.tools.page_in_browser URL PHOTO OUT`.

Uploads a photo, moves the threshold, shows the layers, reads depth under the pointer and by keyboard, gives a file that
is not a photo, and takes pictures at two widths. Needs selenium, Chromium and its driver, which are not part of the
tests.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

WIDTHS = {"wide": (1280, 900), "phone": (390, 844)}
SECONDS = 60


def browser(size: tuple[int, int]) -> Any:
    """Returns a headless browser with a window of this width and height."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
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


def tried(url: str, photo: Path, out: Path, name: str) -> list[str]:
    """Tries the page at one width. Returns a line for each thing that was seen."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    driver = browser(WIDTHS[name])
    seen = []
    try:
        driver.get(url)
        wait(driver, "Choose")
        driver.find_element("id", "file").send_keys(str(photo))
        wait(driver, "Done")
        canvas = driver.find_element("css selector", "section canvas")
        set_value(driver, "threshold", 0.05)
        many = objects(driver)
        set_value(driver, "threshold", 1.0)
        seen.append(f"objects at 0.05 and 1.0: {many}, {objects(driver)}")
        assert many > objects(driver) == 0
        set_value(driver, "threshold", 0.3)
        sums = {pixels(driver)}
        for layer in ("segmentation", "depth", "normals"):
            set_value(driver, f"layer-{layer}", 1)
            sums.add(pixels(driver))
            if layer != "segmentation":
                picture(driver, out / f"{name}_{layer}.png")
            set_value(driver, f"layer-{layer}", 0)
        seen.append(f"different pictures of the layers: {len(sums)}")
        assert len(sums) == 4
        ActionChains(driver).move_to_element(canvas).click().perform()  # a touch screen has no pointer that hovers
        probe = driver.find_element("css selector", ".probe")
        seen.append(f"pointer: {probe.text}")
        assert " m" in probe.text and "°" in probe.text
        before = probe.text
        canvas.send_keys(Keys.ARROW_LEFT)
        assert probe.text != before
        picture(driver, out / f"{name}.png")
        seen += mistaken(driver)
        overflow = driver.execute_script("return document.documentElement.scrollWidth > window.innerWidth")
        assert not overflow, "the page is wider than the window"
        errors = [entry["message"] for entry in driver.get_log("browser") if "favicon" not in entry["message"]]
        seen.append(f"messages of the browser: {errors}")
    finally:
        driver.quit()
    return seen


def mistaken(driver: Any) -> list[str]:
    """Gives a file that is not a photo."""
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(b"\xff\xd8\xff nothing")
        file.flush()
        driver.find_element("id", "file").send_keys(file.name)
        wait(driver, "No prediction")
    text = driver.find_element("id", "error").text
    assert "not served" in text
    return [f"a damaged file: {text}"]


def main() -> None:
    """Tries the page at both widths and prints what was seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.page_in_browser")
    parser.add_argument("url")
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path)
    flags = parser.parse_args()
    flags.out.mkdir(parents=True, exist_ok=True)
    for name in WIDTHS:
        for line in tried(flags.url, flags.photo.resolve(), flags.out, name):
            print(f"{name}: {line}")


if __name__ == "__main__":
    main()
