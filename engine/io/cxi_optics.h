#ifndef PTYCHOSERVE_ENGINE_IO_CXI_OPTICS_H_
#define PTYCHOSERVE_ENGINE_IO_CXI_OPTICS_H_

#include "absl/status/status.h"
#include "engine/io/cxi.h"
#include "engine/io/hdf5.h"

namespace ptychoserve::cxi {

// Reads wavelength, distance, pixel sizes, orientation and near field. With kOptional, what is
// missing or cannot be is left 0 and becomes a note, else an error: kInvalidArgument naming the
// dataset, its value, what is allowed and what to do.
absl::Status ReadOptics(hid_t file, CxiOptics need, CxiScanInfo& info)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(hdf5::library_mutex);

}  // namespace ptychoserve::cxi

#endif  // PTYCHOSERVE_ENGINE_IO_CXI_OPTICS_H_
