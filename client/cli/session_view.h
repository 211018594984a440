#ifndef PTYCHOSERVE_CLIENT_CLI_SESSION_VIEW_H_
#define PTYCHOSERVE_CLIENT_CLI_SESSION_VIEW_H_

#include <string>

#include "client/cli/command.h"
#include "engine/quality/frc.h"
#include "ptychoserve/v1/session.pb.h"

namespace ptychoserve::cli {

// A session in a few lines for people, without its configuration.
std::string DescribeSession(const v1::Session& session);
// That durability is lost, and why; empty when it is not.
std::string DescribeLoss(const v1::Session& session);
// What refinement has found, in a line.
std::string DescribeRefinement(const v1::RefinementMetrics& refined);
// Where a probe that was made from the data has its focus, in words.
std::string DescribeDefocus(double probe_defocus_m);
// "R 0.1332, Gaussian 0.2310, Poisson NLL 1.9746".
std::string DescribeFit(const v1::FitMetrics& fit);
// What a session has found out about the orientation of its frames, in a line for each trial and a
// verdict; and the verdict alone.
std::string DescribeOrientationTest(const v1::OrientationTest& test);
std::string OrientationVerdict(const v1::OrientationTest& test);
// Crossings, resolutions and means of a comparison, in one line.
std::string DescribeRings(const RingCorrelation& rings);
std::string DescribeRings(const v1::RingCorrelation& rings);
// "9 DUPLICATE (first: frame 96)", with the server's explanation when there is one.
std::string DescribeRejection(const v1::Rejection& rejection);
// One line of `ptychoctl list`.
std::string SessionRow(const v1::Session& session);
std::string SessionRowHeader();
// Prints it: JSON with --json, else DescribeSession.
void PrintSession(const v1::Session& session, const Context& context);

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_SESSION_VIEW_H_
