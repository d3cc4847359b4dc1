"""The Python tasks of the flights example. Standard library only."""

import csv
import json
import pathlib

OUT = pathlib.Path("out")


def split(path, count):
    """Groups the flights by origin and gives the `count` busiest origins, ties by name."""
    with open(path, encoding="utf-8") as file:
        flights = json.load(file)
    by_origin = {}
    for flight in flights:
        by_origin.setdefault(flight["origin"], []).append(
            [flight["delay"], flight["distance"], flight["destination"]]
        )
    busiest = sorted(by_origin, key=lambda origin: (-len(by_origin[origin]), origin))[:count]
    print(f"{len(flights)} flights from {len(by_origin)} airports, the first {len(busiest)} taken")
    return {"parts": [{"origin": origin, "flights": by_origin[origin]} for origin in busiest]}


def airports(path):
    """Name and place of each airport by its IATA code."""
    with open(path, newline="", encoding="utf-8") as file:
        return {
            row["iata"]: {
                "name": row["name"],
                "city": row["city"],
                "state": row["state"],
                "longitude": float(row["longitude"]),
                "latitude": float(row["latitude"]),
            }
            for row in csv.DictReader(file)
        }


def delays(part):
    """What one airport's flights have lost. Minutes."""
    minutes = sorted(flight[0] for flight in part["flights"])
    destinations = {flight[2] for flight in part["flights"]}
    return {
        "origin": part["origin"],
        "flights": len(minutes),
        "destinations": len(destinations),
        "mean_delay": round(sum(minutes) / len(minutes), 3),
        "median_delay": minutes[len(minutes) // 2],
        "worst_delay": minutes[-1],
        "late_share": round(sum(delay > 15 for delay in minutes) / len(minutes), 4),
        "miles": sum(flight[1] for flight in part["flights"]),
    }


def join(delays, places):
    """Joins delays with places, writes both files, and gives the ten worst of the larger airports."""
    rows = [{**entry, **places[entry["origin"]]} for entry in delays if entry["origin"] in places]
    rows.sort(key=lambda row: (-row["mean_delay"], row["origin"]))
    OUT.mkdir(exist_ok=True)
    with open(OUT / "delays.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    collection = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [row["longitude"], row["latitude"]]},
                "properties": {
                    key: row[key] for key in ("origin", "name", "flights", "mean_delay")
                },
            }
            for row in rows
        ],
    }
    (OUT / "delays.geojson").write_text(json.dumps(collection) + "\n", encoding="utf-8")
    large = [row for row in rows if row["flights"] >= 100]
    columns = ("origin", "flights", "mean_delay", "worst_delay", "late_share")
    return {
        "airports": len(rows),
        "flights": sum(row["flights"] for row in rows),
        "miles": sum(row["miles"] for row in rows),
        "worst": [{name: row[name] for name in columns} for row in large[:10]],
        "collection": collection,
    }
