"""Works out what the examples must give, straight from the tables and without their tasks.

    scripts/fetch-example-data && python3 dag-examples/expected.py

writes <lesson>/expected.json beside it (or below the folder that is given as argument). The test
test/e2e/examples.test.ts compares real runs with these files, and the files with a new calculation.
Nothing of the examples is imported: the arithmetic is done a second time, in another way.
"""

import collections
import csv
import datetime
import json
import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).parent
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def table(lesson, name):
    text = (HERE / lesson / "data" / name).read_text(encoding="utf-8")
    return json.loads(text) if name.endswith(".json") else list(csv.DictReader(text.splitlines()))


def succeeded(result=None, attempts=1):
    task = {"outcome": "succeeded", "attempts": attempts}
    return task if result is None else {**task, "result": result}


SKIPPED = {"outcome": "skipped"}


def weather():
    rows = table("weather", "seattle-weather.csv")
    months = []
    for number, name in enumerate(MONTHS, start=1):
        days = [row for row in rows if row["date"].split("-")[1] == f"{number:02}"]
        rain = [float(day["precipitation"]) for day in days]
        lows = [float(day["temp_min"]) for day in days]
        highs = [float(day["temp_max"]) for day in days]
        months.append(
            {
                "month": number,
                "name": name,
                "days": len(days),
                "temp_min": round(statistics.fmean(lows), 3),
                "temp_max": round(statistics.fmean(highs), 3),
                "coldest": min(lows),
                "hottest": max(highs),
                "precipitation_per_year": round(sum(rain) / 4, 3),
                "wet_days": len(rain) - rain.count(0.0),
                "weather": dict(collections.Counter(day["weather"] for day in days)),
            }
        )
    result = {"rows": len(rows), "months": months, "wettest": "Nov", "warmest": "Aug"}
    return {
        "outcome": "succeeded",
        "tasks": {
            "check": succeeded(),
            "lines": succeeded({"lines": len(rows) + 1}),
            "clean": succeeded(),
            "table": succeeded(result),
            "chart": succeeded(),
            "alert": SKIPPED,
            "summary": succeeded({"outcome": "succeeded", "files": ["months.csv", "months.json", "weather.svg"]}),
        },
        "fanOut": {"months": 12},
        "artifacts": ["out/months.csv", "out/months.json", "out/summary.txt", "out/weather.svg"],
    }


def flights():
    rows = table("flights", "flights-20k.json")
    counts = collections.Counter(row["origin"] for row in rows)
    busiest = [name for name, _ in sorted(counts.items(), key=lambda e: (-e[1], e[0]))[:200]]
    taken = [row for row in rows if row["origin"] in busiest]
    worst = []
    for origin in busiest:
        minutes = [row["delay"] for row in rows if row["origin"] == origin]
        if len(minutes) >= 100:
            worst.append(
                {
                    "origin": origin,
                    "flights": len(minutes),
                    "mean_delay": round(statistics.fmean(minutes), 3),
                    "worst_delay": max(minutes),
                    "late_share": round(len([m for m in minutes if m > 15]) / len(minutes), 4),
                }
            )
    worst.sort(key=lambda entry: entry["mean_delay"], reverse=True)
    places = {row["iata"]: row for row in table("flights", "airports.csv")}
    on_map = [
        name
        for name in busiest
        if -126 <= float(places[name]["longitude"]) <= -66
        and 24 <= float(places[name]["latitude"]) <= 50
    ]
    result = {
        "airports": 200,
        "flights": len(taken),
        "miles": sum(row["distance"] for row in taken),
        "worst": worst[:10],
    }
    drawn = {"path": "out/map.svg", "airports": len(on_map), "outside": 200 - len(on_map)}
    return {
        "outcome": "succeeded",
        "tasks": {
            "split": succeeded(),
            "airports": succeeded(),
            "join": succeeded(result),
            "map": succeeded(drawn),
        },
        "fanOut": {"delays": 200},
        "artifacts": ["out/delays.csv", "out/delays.geojson", "out/map.svg"],
    }


def flaky():
    movies = [movie for movie in table("flaky", "movies.json") if movie["Title"] is not None]
    repaired = 0
    best = {}
    for movie in movies:
        year = int(movie["Release Date"][-4:])
        repaired += type(movie["Title"]) is int or year > 2011
        decade = (year - 100 if year > 2011 else year) // 10 * 10
        if movie["IMDB Rating"] is not None and (movie["IMDB Votes"] or 0) >= 1000:
            best.setdefault(decade, []).append((movie["IMDB Rating"], movie))
    tops = []
    for decade, rated in sorted(best.items()):
        top = max(rating for rating, _ in rated)
        movie = min((m for rating, m in rated if rating == top), key=lambda m: str(m["Title"]))
        year = int(movie["Release Date"][-4:])
        tops.append(
            {
                "decade": decade,
                "title": str(movie["Title"]),
                "year": year - 100 if year > 2011 else year,
                "rating": top,
                "votes": movie["IMDB Votes"],
            }
        )
    size = (HERE / "flaky/data/movies.json").stat().st_size
    return {
        "outcome": "succeeded",
        "tasks": {
            "fetch": succeeded({"attempts": 3, "bytes": size}, attempts=3),
            "disk": succeeded({"tries": 3}, attempts=3),
            "mirror": {"outcome": "failed", "reason": "timeout", "attempts": 1},
            "local": succeeded("local"),
            "strict": {"outcome": "failed", "reason": "bad-result", "attempts": 1},
            "repair": succeeded(),
            "decades": succeeded({"movies": len(movies), "repaired": repaired, "best": tops}),
            "alert": SKIPPED,
            "on_success": succeeded("all is well"),
            "on_failure": SKIPPED,
            "at_end": succeeded("over"),
        },
        "artifacts": ["out/decades.json"],
    }


def broken():
    return {
        "outcome": "failed",
        "tasks": {
            "strict": {"outcome": "failed", "reason": "bad-result", "attempts": 2},
            "decades": SKIPPED,
            "independent": succeeded("done"),
            "on_success": SKIPPED,
            "on_failure": succeeded("failed: strict"),
        },
        "artifacts": [],
    }


def market():
    prices = collections.defaultdict(list)
    for row in table("market", "stocks.csv"):
        month, _, year = row["date"].split()
        date = datetime.date(int(year), MONTHS.index(month) + 1, 1).isoformat()
        prices[row["symbol"]].append((date, float(row["price"])))
    result = []
    for symbol in sorted(prices):
        series = sorted(prices[symbol])
        means = [
            (statistics.fmean(price for _, price in series[end - 6 : end]), series[end - 1][0])
            for end in range(6, len(series) + 1)
        ]
        peak = max(means)
        year = [price for _, price in series[-12:]]
        result.append(
            {
                "symbol": symbol,
                "peak": peak[0],
                "peak_date": peak[1],
                "last": means[-1][0],
                "low": min(year),
                "high": max(year),
            }
        )
    ticks = sum(len(series) for series in prices.values())
    states = ["started", "succeeded"]
    heard = {name: states for name in ("ticker", "average", "range", "closing")}
    return {
        "outcome": "succeeded",
        "tasks": {
            "watch": succeeded(heard),
            "ticker": succeeded({"ticks": ticks}),
            "average": succeeded(),
            "range": succeeded(),
            "closing": succeeded({"ticks": ticks, "total": ticks}),
            "report": succeeded({"table": result, "ticks": ticks, "heard": heard}),
        },
        "artifacts": ["out/market.csv"],
    }


def bulk():
    rows = table("bulk", "flights-200k.json")
    hours = [{"hour": h, "flights": 0, "late": 0, "delay_minutes": 0} for h in range(24)]
    distances = {}
    for row in rows:
        hour = hours[int(row["time"] // 1 % 24)]
        distance = distances.setdefault(row["distance"] - row["distance"] % 500, [0, 0])
        for key, value in (("flights", 1), ("late", row["delay"] > 15), ("delay_minutes", row["delay"])):
            hour[key] += value
        distance[0] += 1
        distance[1] += row["delay"]
    by_distance = [
        {"from_miles": start, "flights": entry[0], "delay_minutes": entry[1]}
        for start, entry in sorted(distances.items())
    ]
    shares = [entry["late"] / (entry["flights"] or 1) for entry in hours]
    result = {
        "flights": len(rows),
        "hours": hours,
        "distances": by_distance,
        "worst_hour": shares.index(max(shares)),
    }
    return {
        "outcome": "succeeded",
        "tasks": {
            "load": succeeded(),
            "by_hour": succeeded(hours),
            "by_distance": succeeded(by_distance),
            "size": succeeded(len(rows)),
            "report": succeeded(result),
        },
        "artifacts": ["out/report.json"],
    }


def main(target):
    lessons = {
        "weather": {"dag.yaml": weather},
        "flights": {"dag.yaml": flights},
        "flaky": {"dag.yaml": flaky, "broken.yaml": broken},
        "market": {"dag.yaml": market},
        "bulk": {"dag.yaml": bulk},
    }
    for lesson, documents in lessons.items():
        expected = {name: work_out() for name, work_out in documents.items()}
        text = json.dumps(expected, indent=1, ensure_ascii=False)
        (target / lesson).mkdir(exist_ok=True)
        (target / lesson / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
