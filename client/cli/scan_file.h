#ifndef PTYCHOSERVE_CLIENT_CLI_SCAN_FILE_H_
#define PTYCHOSERVE_CLIENT_CLI_SCAN_FILE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/output.h"
#include "client/cli/session_flags.h"
#include "engine/io/cxi.h"

namespace ptychoserve::cli {

// Opens the scan that a session of these flags is for, and says on stderr what is unusual in it.
// The file may lack optics when flags or a --config may have them. Errors, marked as bad input:
// those of CxiScanReader.
absl::StatusOr<std::unique_ptr<CxiScanReader>> OpenScan(const std::string& path,
                                                        const SessionFlags& flags);

// Says on stderr how many pixels of the frames that were read were no counts, if any.
void PrintChanges(const CxiScanReader& scan);
// The same, and the notes.
Json NotesJson(const CxiScanReader& scan);

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_SCAN_FILE_H_
