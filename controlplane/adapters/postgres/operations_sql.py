"""Statements on operations, items, steps and slots. Many rows travel as one JSON array."""

from __future__ import annotations

from sqlalchemy import text

from .engine_timeline import TIMELINE

_OPERATION = """
select o.id, o.kind, o.tenant, o.state, o.spec, o.result, o.problem, o.waiting_for, o.requested_by, o.created_at, o.started_at, o.ended_at,
  (select coalesce(jsonb_object_agg(state, n), '{}') from
    (select state, count(*) as n from operation_items i where i.operation_id = o.id group by state) c) as counts
from operations o
"""
_PLACES = "jsonb_to_recordset(cast(:rows as jsonb)) as x(tenant text, environment text)"

ADD = text(
    """
    insert into operations (id, kind, tenant, state, spec, requested_by, due_at)
    values (:id, :kind, :tenant, 'accepted', cast(:spec as jsonb), :by, now())
    """
)
CREATOR_OF = text(
    """
    select o.id from operations o join operation_items i on i.operation_id = o.id
    where i.tenant = :tenant and o.kind in ('onboard','batchOnboard') order by o.id limit 1
    """
)
ADD_ITEMS = text(
    """
    insert into operation_items (operation_id, ordinal, tenant, environment, state, stage, spec, problem)
    select :id, ordinal, tenant, environment, case when problem is null then 'pending' else 'failed' end, '', spec, problem
    from jsonb_to_recordset(cast(:rows as jsonb)) as x(ordinal int, tenant text, environment text, spec jsonb, problem jsonb)
    returning ordinal
    """
)
GET = text(f"{_OPERATION} where o.id = :id")
PAGE = text(
    f"{_OPERATION} where cast(:after as uuid) is null or o.id < cast(:after as uuid) order by o.id desc limit :limit"
)
OPEN_OF = text(
    f"""
    {_OPERATION} where o.state not in ('succeeded','failed','cancelled')
      and (o.tenant = :tenant or exists (select 1 from operation_items i where i.operation_id = o.id and i.tenant = :tenant
                                         and i.state not in ('succeeded','failed')))
    order by o.id limit 1
    """  # noqa: S608 -- constants
)
LOCK = text("select state from operations where id = :id for update")
CANCEL = text(
    """
    with raised as (
        update leases set command_seq = command_seq + 1 where subject_kind = 'operation' and subject_id = :id
        returning subject_kind, subject_id, command_seq
    ), due as (
        update operations set due_at = now() where id = :id
    )
    insert into commands (subject_kind, subject_id, seq, command, body, actor)
    select subject_kind, subject_id, command_seq, 'cancel', cast(:body as jsonb), :actor from raised
    returning seq
    """
)
CANCELLED_BY = text(
    """
    select actor, body ->> 'reason' as reason from commands
    where subject_kind = 'operation' and subject_id = :id and command = 'cancel' order by seq limit 1
    """
)
NOTE_COMMANDS = text(
    "update commands set applied_at = now() where subject_kind = 'operation' and subject_id = :id and applied_at is null"
)
ITEMS = text(
    """
    select ordinal, tenant, environment, state, stage, spec, problem, memory from operation_items
    where operation_id = :id and ordinal > :after and (cast(:state as text) is null or state = :state)
    order by ordinal limit :limit
    """
)
STEPS = text(
    """
    select phase, verb, kind, name, state, outcome, issued_at, observed_at from steps
    where subject_id = :id and tenant = :tenant and environment = :environment order by planned_at, step_id, ordinal
    """
)
# A takeover raises the epoch too: the slot is ours already, the writer is new.
TAKE_SLOTS = text(
    f"""
    update environments e set slot_kind = 'operation', slot_id = :id, slot_since = coalesce(e.slot_since, now()),
      epoch = greatest(e.epoch + 1, {TIMELINE}::bigint << 40)
    from (select e2.tenant, e2.environment from environments e2 join {_PLACES} using (tenant, environment)
          where (e2.slot_id is null or (e2.slot_kind = 'operation' and e2.slot_id = :id)) and (:dirty_too or not e2.dirty)
          order by e2.tenant, e2.environment for update of e2) as mine
    where e.tenant = mine.tenant and e.environment = mine.environment
    returning e.tenant, e.environment, e.cluster, e.namespace, e.uid, e.epoch
    """  # noqa: S608 -- constants
)
FREE_SLOTS = text(
    f"""
    update environments e set slot_kind = null, slot_id = null, slot_since = null from {_PLACES}
    where e.tenant = x.tenant and e.environment = x.environment and e.slot_kind = 'operation' and e.slot_id = :id
    """  # noqa: S608 -- constants
)
RAISE_EPOCHS = text(
    """
    update environments e set epoch = greatest(e.epoch, x.epoch)
    from jsonb_to_recordset(cast(:rows as jsonb)) as x(tenant text, environment text, epoch bigint)
    where e.tenant = x.tenant and e.environment = x.environment
    """
)
# Planned and issued in one commit: what is planned here may be carried out as soon as it is known to be written.
ISSUE = text(
    """
    insert into steps (step_id, ordinal, subject_kind, subject_id, tenant, environment, phase, verb, api_version, kind, name, fence, state,
                       epoch, issued_at, outcome)
    select step_id, ordinal, 'operation', :id, tenant, environment, phase, verb, api_version, kind, name, fence, 'ISSUED', epoch, now(), ''
    from jsonb_to_recordset(cast(:rows as jsonb)) as x(step_id uuid, ordinal int, tenant text, environment text, phase text, verb text,
      api_version text, kind text, name text, fence text, epoch bigint)
    returning ordinal
    """
)
OBSERVE = text(
    """
    update steps s set state = 'OBSERVED', observed_at = now(), outcome = x.outcome, result = x.result
    from jsonb_to_recordset(cast(:rows as jsonb)) as x(step_id uuid, ordinal int, outcome text, result jsonb)
    where s.step_id = x.step_id and s.ordinal = x.ordinal and s.subject_id = :id and s.state = 'ISSUED' returning s.ordinal
    """
)
CLOSE_STEPS = text(
    """
    update steps set state = 'OBSERVED', observed_at = now(), outcome = 'superseded'
    where subject_id = :id and state <> 'OBSERVED' returning ordinal
    """
)
SAVE_ITEMS = text(
    """
    update operation_items i set state = x.state, stage = x.stage, problem = x.problem, memory = x.memory
    from jsonb_to_recordset(cast(:rows as jsonb)) as x(ordinal int, state text, stage text, problem jsonb, memory jsonb)
    where i.operation_id = :id and i.ordinal = x.ordinal returning i.ordinal
    """
)
SET_WALLS = text(
    """
    update environments e set uid = x.uid, walls = x.walls
    from jsonb_to_recordset(cast(:rows as jsonb)) as x(tenant text, environment text, uid text, walls jsonb)
    where e.tenant = x.tenant and e.environment = x.environment returning e.tenant
    """
)
SET_STATE = text(
    """
    update operations set state = cast(:state as text), waiting_for = cast(:waiting_for as jsonb), due_at = now() + cast(:due_in as interval),
      started_at = coalesce(started_at, case when cast(:state as text) <> 'accepted' then now() end),
      ended_at = case when cast(:state as text) in ('succeeded','failed','cancelled') then now() end,
      result = result || coalesce(cast(:result as jsonb), '{}'), problem = coalesce(cast(:problem as jsonb), problem)
    where id = :id returning id
    """
)
INSTALLS = text(
    """
    select t.tenant, t.environment, r.app, r.id as rollout_id, r.state as rollout_state, t.state, t.code, t.reason
    from rollouts r join targets t on t.rollout_id = r.id where r.origin ->> 'onboarding' = :id
    """
)
