"""The question to Redis: may these pass? One atomic script over one key (a string: "epoch;slot:count,slot:count")."""

from __future__ import annotations

from gateway_runtime.shared.script import Script

TAKE = Script("""\
-- KEYS the window. ARGV 1 limit, 2 ms in a slot, 3 slots, 4 needed now, 5 wished for, 6 the epoch known to the caller,
-- 7 a new epoch, 8 what the caller was told, 9 how many ms ago, 10 its debts, 11 lease given back, 12 now in ms (tests).
-- A list is "ms until the slot ends:count,...".
-- Returns {granted, left, ms until there is more, ms until this slot ends, epoch, list of what has passed}.
local limit, width, slots = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(ARGV[12])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local current = math.floor(now / width)

local raw = redis.pcall('GET', KEYS[1])
if type(raw) == 'table' then redis.call('DEL', KEYS[1]) raw = false end  -- another type: nothing of ours
local epoch, body
if raw then epoch, body = string.match(raw, '^(%x+);([%d:,]*)$') end
local counts, newest = {}, current
for slot, count in string.gmatch(body or '', '(%d+):(%d+)') do
  slot = tonumber(slot)
  counts[slot] = tonumber(count)
  if slot > newest then newest = slot end
end
if newest > current then  -- the clock went back: keep the counts, or nobody would pass until it has caught up
  local moved = {}
  for slot, count in pairs(counts) do moved[slot - newest + current] = count end
  counts = moved
end

local function each(list, ago, take)
  for ends, count in string.gmatch(list, '(-?%d+):(%d+)') do
    local slot = math.min(current, math.ceil((now + ends - ago) / width) - 1)
    take(slot, tonumber(count))
  end
end
if epoch ~= ARGV[6] then  -- Redis lost what it had, or got it from somebody else since
  local told = {}  -- a millisecond of rounding can put two slots of the caller's into one of ours
  each(ARGV[8], tonumber(ARGV[9]), function(slot, count) told[slot] = (told[slot] or 0) + count end)
  for slot, count in pairs(told) do counts[slot] = math.max(counts[slot] or 0, count) end
end
each(ARGV[10], 0, function(slot, count) counts[slot] = (counts[slot] or 0) + count end)
each(ARGV[11], 0, function(slot, count) counts[slot] = math.max(0, (counts[slot] or 0) - count) end)
epoch = epoch or ARGV[7]

local used = 0
for slot, count in pairs(counts) do
  if slot < current - slots or count == 0 then counts[slot] = nil else used = used + count end
end
local needed, granted, left = tonumber(ARGV[4]), 0, limit - used
if needed > 0 and left > 0 then
  -- More than what is needed now only while there is plenty, so that no instance sits on the last ones.
  granted = math.min(left, math.max(needed, math.min(tonumber(ARGV[5]), math.floor(left / 8))))
  counts[current] = (counts[current] or 0) + granted
  used, left = used + granted, left - granted
end

local order = {}
for slot in pairs(counts) do order[#order + 1] = slot end
table.sort(order)
local more, gone, stored, told = 0, 0, {}, {}
for i, slot in ipairs(order) do
  local count = counts[slot]
  gone = gone + count
  if more == 0 and used - gone < limit then more = (slot + slots + 1) * width - now end
  stored[i] = string.format('%d:%d', slot, count)
  told[i] = string.format('%d:%d', (slot + 1) * width - now, count)
end
if #order > 0 then
  redis.call('SET', KEYS[1], epoch .. ';' .. table.concat(stored, ','), 'PX', (slots + 2) * width)
elseif raw then
  redis.call('DEL', KEYS[1])
end
return {granted, math.max(0, left), more, (current + 1) * width - now, epoch, table.concat(told, ',')}
""")
