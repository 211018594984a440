#ifndef PTYCHOSERVE_SERVER_JOURNAL_RECOVERY_H_
#define PTYCHOSERVE_SERVER_JOURNAL_RECOVERY_H_

#include "server/service/core.h"

namespace ptychoserve::server {

// Takes up the sessions of core.state, before the server listens: those that had ended can be read
// as before; the others get their input again from the journal and go on from their last
// checkpoint. What cannot be taken up stays on disk, and the log says why.
void RecoverSessions(Core& core);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_JOURNAL_RECOVERY_H_
