#ifndef PTYCHOSERVE_CLIENT_CLI_INTERRUPT_H_
#define PTYCHOSERVE_CLIENT_CLI_INTERRUPT_H_

namespace ptychoserve::cli {

// From here on the first Ctrl-C (or SIGTERM) is noted, and the second ends the process at once.
void CatchInterrupts();
bool Interrupted();

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_INTERRUPT_H_
