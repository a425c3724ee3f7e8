"""Ratios over the trailing twelve months: margins, turnovers, valuations, one row of ``ratios_ttm`` each.

Endpoint: ``ratios-ttm?symbol=AAPL`` of the Financial Modeling Prep ``stable`` API, 61 figures and the symbol. Ratios
and margins are fractions (0.27 is 27 %), figures per share and ``enterpriseValueTTM`` in the reported currency. There
is no date; any figure may be null, and 0 can mean that it is not available. Asked conditionally.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daemon.contracts import Fetched, FetchError, FetchRequest, Upstream
from daemon.fetchers import decode
from daemon.fetchers.conditional import fetch_one
from daemon.fetchers.shape import Shape, fields, read_list

FIGURES = """
    grossProfitMarginTTM ebitMarginTTM ebitdaMarginTTM operatingProfitMarginTTM pretaxProfitMarginTTM
    continuousOperationsProfitMarginTTM netProfitMarginTTM bottomLineProfitMarginTTM receivablesTurnoverTTM
    payablesTurnoverTTM inventoryTurnoverTTM fixedAssetTurnoverTTM assetTurnoverTTM currentRatioTTM
    quickRatioTTM solvencyRatioTTM cashRatioTTM priceToEarningsRatioTTM priceToEarningsGrowthRatioTTM
    forwardPriceToEarningsGrowthRatioTTM priceToEarningsDilutedRatioTTM priceToEarningsDilutedGrowthRatioTTM
    priceToBookRatioTTM priceToSalesRatioTTM priceToFreeCashFlowRatioTTM priceToOperatingCashFlowRatioTTM
    debtToAssetsRatioTTM debtToEquityRatioTTM debtToCapitalRatioTTM longTermDebtToCapitalRatioTTM
    financialLeverageRatioTTM workingCapitalTurnoverRatioTTM operatingCashFlowRatioTTM
    operatingCashFlowSalesRatioTTM freeCashFlowOperatingCashFlowRatioTTM debtServiceCoverageRatioTTM
    interestCoverageRatioTTM shortTermOperatingCashFlowCoverageRatioTTM operatingCashFlowCoverageRatioTTM
    capitalExpenditureCoverageRatioTTM dividendPaidAndCapexCoverageRatioTTM dividendPayoutRatioTTM
    dividendYieldTTM enterpriseValueTTM revenuePerShareTTM netIncomePerShareTTM interestDebtPerShareTTM
    cashPerShareTTM bookValuePerShareTTM tangibleBookValuePerShareTTM shareholdersEquityPerShareTTM
    operatingCashFlowPerShareTTM capexPerShareTTM freeCashFlowPerShareTTM netIncomePerEBTTTM ebtPerEbitTTM
    priceToFairValueTTM debtToMarketCapTTM effectiveTaxRateTTM enterpriseValueMultipleTTM dividendPerShareTTM
"""

RATIOS = Shape(
    identity=fields(decode.code, "symbol"),
    optional=fields(decode.number, FIGURES, netIncomePerEBTTTM="net_income_per_ebt_ttm"),
)


def parse(body: bytes, symbol: str) -> Fetched:
    """Return the ratios of ``symbol`` as one row, or no row where the upstream has none.

    Raises:
        FetchError: WRONG_SYMBOL where the answer is about another symbol; MALFORMED, INSANE_VALUE or TOO_LARGE where
            nothing of it can be used.
    """
    about = f"ratios-ttm symbol={symbol}"
    return read_list(body, RATIOS, about, {"symbol": symbol}).fetched(last=True)


class RatiosTtmFetcher:
    """Fetches ratios, one symbol at a time."""

    data_type = "ratios-ttm"
    batch_size = 1

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch the ratios of one symbol, unless they have not changed since the answer with ``etag``.

        Raises:
            FetchError: Where the call failed, or its answer cannot be used.
            CallRefusedError: Where the call was not made.
        """
        (request,) = requests
        return await fetch_one(request, upstream, "ratios-ttm", {"symbol": request.symbol}, parse)
