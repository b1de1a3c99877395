"""The collector that docs/how-to/measure-odoo.md gives: its queries run on PostgreSQL and say what named queries ask for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import yaml

from controlplane.gates.catalogue import CATALOGUE
from tests.plugins.database import Database

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "measure-odoo.md"
TABLES = """
create schema odoo; set search_path to odoo;
create table queue_job (state varchar, eta timestamp, date_created timestamp);
create table ir_cron (active boolean, nextcall timestamp);
create table sale_order (state varchar);
create table stock_move (state varchar);
create table account_move (id int, state varchar);
create table account_payment (move_id int);
create table ir_attachment (type varchar);
"""
ROWS = """
insert into queue_job values
  ('pending', null, (now() at time zone 'utc') - interval '90 s'), ('pending', (now() at time zone 'utc') + interval '1 h', now() - interval '1 d'),
  ('done', null, now() - interval '1 d'), ('failed', null, now() - interval '1 d');
insert into ir_cron values (true, (now() at time zone 'utc') - interval '600 s'), (false, now() - interval '1 d'), (true, now() + interval '1 d');
insert into sale_order values ('sale'), ('done'), ('draft');
insert into stock_move values ('done'), ('assigned');
insert into account_move values (1, 'posted'), (2, 'draft');
insert into account_payment values (1), (2);
insert into ir_attachment values ('binary'), ('url');
"""


def collector() -> dict[str, dict[str, Any]]:
    """The metrics of the page's first block, by name."""
    block = re.search(r"```yaml\n(collector_name.*?)```", PAGE.read_text(), re.DOTALL)
    assert block
    return {one["metric_name"]: one for one in yaml.safe_load(block[1])["metrics"]}


def test_every_metric_of_odoo_that_a_named_query_reads_is_collected() -> None:
    asked = {name for entry in CATALOGUE.values() for name in re.findall(r"\bodoo_\w+", entry.query)}
    assert asked == set(collector())


def test_the_collector_counts_what_its_metrics_say(database: Database) -> None:
    def measure(db: psycopg.Connection[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
        return {name: sorted(db.execute(one["query"].encode()).fetchall()) for name, one in collector().items()}

    with psycopg.connect(database.owner) as db:
        db.execute(TABLES)
        empty = measure(db)
        db.execute(ROWS)
        full = measure(db)
    assert empty["odoo_queue_oldest_seconds"] == empty["odoo_cron_lag_seconds"] == [(0,)]
    assert full["odoo_queue_jobs"] == [("done", 1), ("failed", 1), ("pending", 2)]
    assert 90 <= full["odoo_queue_oldest_seconds"][0][0] < 120
    assert 600 <= full["odoo_cron_lag_seconds"][0][0] < 630
    counts = {name: rows[0][0] for name, rows in full.items() if name.endswith("_total")}
    assert counts == {
        "odoo_orders_total": 2,
        "odoo_stock_moves_total": 1,
        "odoo_payments_total": 1,
        "odoo_attachments_total": 1,
    }
