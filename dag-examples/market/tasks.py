"""The Python tasks of the market example. Standard library and the SDK only."""

import csv
import datetime
import json
import pathlib

from edgedag import events, log, progress, store

EVERY = 20  # ticks between two wake-up calls


def watch(names):
    """Listens to `task.<name>.<state>` until each of the named tasks has succeeded."""
    heard = {name: [] for name in names}
    channels = [f"task.{name}.{state}" for name in names for state in ("started", "succeeded")]
    with events.subscribe(*channels) as stream:
        # Only now may the others start: nothing that they do can be missed.
        events.publish("market.watched", {"names": names})
        while not all("succeeded" in states for states in heard.values()):
            name, state = next(stream).channel[len("task.") :].rsplit(".", 1)
            heard[name].append(state)
    return heard


def ticker(path):
    """Appends all prices in order of time; wakes the readers every few ticks."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [
            {
                "symbol": row["symbol"],
                "date": datetime.datetime.strptime(row["date"], "%b %d %Y").date().isoformat(),
                "price": float(row["price"]),
            }
            for row in csv.DictReader(file)
        ]
    rows.sort(key=lambda row: (row["date"], row["symbol"]))
    events.publish("market.open", {"ticks": len(rows)})
    for number, row in enumerate(rows, start=1):
        store.rpush("ticks", json.dumps(row))
        if number % EVERY == 0:
            events.publish("market.tick", {"ticks": number})
            progress(number / len(rows), f"{number} prices")
    store.set("ticks.total", len(rows))
    events.publish("market.closed", {"ticks": len(rows)})
    log.info("market closed", ticks=len(rows))
    return {"ticks": len(rows)}


def ticks():
    """Every price, once, as it comes. The list is the truth, an event only says: look again."""
    read = 0
    with events.subscribe("market.tick", "market.closed") as stream:
        while True:
            # The total is read first: it is written last, so the list is then complete.
            total = store.get("ticks.total")
            for text in store.execute("LRANGE", "ticks", read, -1):
                read += 1
                yield json.loads(text)
            if total is not None and read == int(total):
                return
            next(stream)


def average(months):
    """The last moving average of each stock and the month in which it was highest."""
    prices = {}
    found = {}
    for tick in ticks():
        window = prices.setdefault(tick["symbol"], [])
        window.append(tick["price"])
        del window[:-months]
        if len(window) < months:
            continue
        mean = sum(window) / months
        entry = found.setdefault(tick["symbol"], {"peak": mean, "peak_date": tick["date"]})
        entry["last"] = mean
        if mean > entry["peak"]:
            entry.update(peak=mean, peak_date=tick["date"])
    return found


def closing():
    """How many prices there are by the time that the market has closed."""
    return {"ticks": store.execute("LLEN", "ticks"), "total": int(store.get("ticks.total"))}


def report(averages, ranges, closing, heard):
    """Writes the table and gives it as the result."""
    table = [
        {"symbol": symbol, **averages[symbol], **ranges[symbol]} for symbol in sorted(averages)
    ]
    out = pathlib.Path("out")
    out.mkdir(exist_ok=True)
    with open(out / "market.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    return {"table": table, "ticks": closing["ticks"], "heard": heard}
