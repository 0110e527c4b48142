-- Post the file named by BODY_FILE with the lines of BODY_HEADERS over and over; print one line of JSON at the end.
local file = assert(io.open(os.getenv("BODY_FILE"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
for name, value in os.getenv("BODY_HEADERS"):gmatch("([^\n:]+): ([^\n]+)") do
  wrk.headers[name] = value
end

function done(summary, latency, _)
  local e = summary.errors
  local errors = e.status + e.connect + e.read + e.write + e.timeout
  local form = 'RESULT {"requests":%d,"us":%d,"p50_us":%d,"p99_us":%d,"errors":%d}\n'
  io.write(form:format(summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors))
end
