package translate

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// checkSchedule reports what the API server would not take as the schedule of
// a CronJob; it reads schedules with the same parser.
func (d *hintDecoder) checkSchedule(path, schedule string) {
	if strings.Contains(schedule, "TZ") {
		d.fail(path, fmt.Sprintf("%q names a time zone, which a CronJob has elsewhere", schedule), "remove TZ=; a job of the compose file has timezone")
		return
	}
	if _, err := cron.ParseStandard(schedule); err != nil {
		d.fail(path, fmt.Sprintf("%q is no cron expression of five fields: %v", schedule, err), `write it as "*/5 * * * *" or "@daily"`)
	}
}

// checkTimezone reports what is no time zone of the IANA database.
func (d *hintDecoder) checkTimezone(path, zone string) {
	if zone == "" {
		return
	}
	if _, err := time.LoadLocation(zone); err != nil || strings.EqualFold(zone, "Local") {
		d.fail(path, fmt.Sprintf("%q is no time zone", zone), "write it as Europe/Berlin")
	}
}
